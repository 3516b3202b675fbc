// @ts-check
/** How often: the rules that people choose from, in plain words, and when they let a reminder come first. */

import { DAY, meaning } from './wall.js'

const WEEK = 7 * DAY
const WEEKDAYS = 'FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR'

/** @type {[rule: string, words: string][]} */
export const RULES = [
  ['', 'Never'],
  ['FREQ=DAILY', 'Every day'],
  [WEEKDAYS, 'Every weekday'],
  ['FREQ=WEEKLY', 'Every week'],
  ['FREQ=MONTHLY', 'Every month'],
  ['own', 'By a rule …'],
]

/** Whether it is one of these, of which the page knows when it comes. @param {string} rule */
export const isPlain = (rule) => rule.startsWith('FREQ=') && RULES.some(([known]) => known === rule)

/**
 * The words for a rule; where there are none, the rule itself.
 * @param {string} rule
 */
export const ruleWords = (rule) => (isPlain(rule) && RULES.find(([known]) => known === rule)?.[1]) || rule

/**
 * When a plain rule lets a reminder come first after `now`: what clocks in the zone show (as if it were UTC), and the
 * instant. Undefined for what is no time or zone.
 * @param {string} rule
 * @param {number} start what clocks show where it begins, as if it were UTC
 * @param {string} zone
 * @param {number} now
 */
export function firstAfter(rule, start, zone, now) {
  const early = now - 2 * DAY // on every clock
  if (rule !== 'FREQ=MONTHLY') start += Math.max(0, Math.floor((early - start) / WEEK)) * WEEK
  for (const shown of times(rule, start)) {
    if (shown < early) continue
    const found = meaning(shown, zone)
    if (!found || found.instant > now) return found && { shown, ...found }
  }
}

/** What clocks show when it comes, from `start` on, without end. @param {string} rule @param {number} start */
function* times(rule, start) {
  const day = new Date(start).getUTCDate()
  for (let number = 0; !Number.isNaN(start); number++) {
    const date = new Date(start)
    if (rule === 'FREQ=MONTHLY') date.setUTCMonth(date.getUTCMonth() + number)
    else date.setUTCDate(day + number * (rule === 'FREQ=WEEKLY' ? 7 : 1))
    if (rule === 'FREQ=MONTHLY' && date.getUTCDate() !== day) continue // that month has no such day
    if (rule === WEEKDAYS && [0, 6].includes(date.getUTCDay())) continue
    yield date.getTime()
  }
}
