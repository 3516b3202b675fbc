// Pictures of the page: `node screenshot.mjs FOLDER URL PREFIX CHROMIUM PLACE`, where FOLDER is a node_modules with
// "playwright-core" and PLACE is where the pages have left off. Says so when the pages are open, and takes the pictures
// when a reminder has come.
import { createRequire } from 'node:module'

const [folder, url, prefix, executablePath, place] = process.argv.slice(2)
const { chromium } = createRequire(import.meta.url)(`${folder}/playwright-core`)
const looks = {
  light: { colorScheme: 'light', viewport: { width: 1120, height: 900 } },
  dark: { colorScheme: 'dark', viewport: { width: 1120, height: 900 } },
  narrow: { colorScheme: 'light', viewport: { width: 390, height: 844 }, isMobile: true },
}

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
const pages = []
for (const look of Object.values(looks)) {
  const page = await browser.newPage({ ...look, locale: 'en-GB', timezoneId: 'Europe/Berlin', reducedMotion: 'reduce' })
  await page.addInitScript((place) => localStorage.setItem('event-reminder.place', JSON.stringify(place)), place)
  await page.goto(url)
  await page.waitForSelector('#fired-list .missed')
  await page.fill('#eventName', 'Call Ana')
  await page.fill('#timeZone', 'America/New_York')
  await page.fill('#date', '2027-01-18')
  await page.fill('#time', '09:30')
  await page.selectOption('#repeat', 'FREQ=WEEKLY')
  pages.push(page)
}
console.log('ready')
for (const [number, name] of Object.keys(looks).entries()) {
  await pages[number].waitForSelector('#fired-list .live')
  await pages[number].waitForSelector('#upcoming .row .count:has-text("in 29 min")')
  await pages[number].evaluate(() => document.activeElement.blur())
  await pages[number].screenshot({ path: `${prefix}-${name}.png`, fullPage: true })
}
await browser.close()
