// A browser, driven by JSON lines on stdin: `{page, method, args}` calls a method of a page, `{page, open}` opens one in
// a context of its own with these options, where `script` runs before any of the page's. Each is answered in turn by
// `{result}` or `{error}` on stdout.
import { stdin, stdout } from 'node:process'
import { createInterface } from 'node:readline'
import axe from 'axe-core'
import { chromium } from 'playwright-core'

const [executablePath, ...flags] = process.argv.slice(2)
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', ...flags] })
const pages = new Map()
const problems = new Map()

async function open(name, { permissions = [], url, script = '', ...options }) {
  const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'Europe/Berlin', permissions, ...options })
  await context.addInitScript(script)
  const page = await context.newPage()
  page.setDefaultTimeout(25_000)
  problems.set(page, [])
  page.on('pageerror', (error) => problems.get(page).push(error.stack))
  page.on('console', (message) => {
    // A server that is away is no problem of the page's.
    if (message.type() === 'error' && !/WebSocket|ERR_CONNECTION/.test(message.text()))
      problems.get(page).push(message.text())
  })
  pages.set(name, page)
  await page.goto(url)
}

/** What is not as it should be for people who see, hear or move otherwise. */
async function judge(page) {
  await page.evaluate(axe.source)
  const { violations } = await page.evaluate(() => axe.run())
  return violations.map(({ impact, id, nodes }) => ({ impact, id, targets: nodes.map(({ html }) => html) }))
}

async function call({ page: name, method, args }) {
  const page = pages.get(name)
  if (method === 'problems') return problems.get(page)
  if (method === 'judge') return judge(page)
  if (method === 'type') return page.keyboard.type(...args)
  if (method === 'key') return page.keyboard.press(...args)
  if (method === 'close') return page.context().close()
  const result = await page[method](...args)
  return ['evaluate', 'textContent', 'inputValue', 'title', 'isVisible'].includes(method) ? result : null
}

for await (const line of createInterface({ input: stdin })) {
  const request = JSON.parse(line)
  const done = request.open ? open(request.page, request.open) : call(request)
  await done.then(
    (result = null) => stdout.write(`${JSON.stringify({ result })}\n`),
    (error) => stdout.write(`${JSON.stringify({ error: error.message })}\n`),
  )
}
await browser.close()
