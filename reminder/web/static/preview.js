// @ts-check
/** What the form says before of what will come: when first, then how often, and what is odd about that. */

import { make } from './dom.js'
import { firstAfter, ruleWords } from './rules.js'
import { place } from './upcoming.js'
import { asUTC, OWN, resolve, wall, words } from './wall.js'

/**
 * @typedef {object} Wanted
 * @property {string} date
 * @property {string} time
 * @property {string} timeZone
 * @property {string} often the rule; empty where nothing repeats
 * @property {boolean} isKnown whether the page knows when it comes; by other rules only the server does
 * @typedef {{ shown: number } & import('./wall.js').Resolved} First what clocks show then, as if it were UTC
 */

/**
 * When it comes first; where that is not known, from when on. Undefined for what is no time or zone.
 * @param {Wanted} wanted
 * @param {number} now
 * @returns {First | undefined}
 */
export function firstOf({ date, time, timeZone, often, isKnown }, now) {
  if (!date || !time) return undefined
  const shown = asUTC(`${date} ${time}`)
  if (often && isKnown) return firstAfter(often, shown, timeZone, now)
  const found = resolve(`${date} ${time}`, timeZone)
  return found && { shown, ...found }
}

/**
 * What is said of it.
 * @param {Wanted} wanted
 * @param {First} first
 * @param {number} now
 */
export function said({ time, timeZone, often, isKnown }, { shown, instant, problem }, now) {
  const there = place(timeZone)
  const lines = []
  if (!isKnown) {
    const from = instant > now ? make('strong', { text: words(instant, timeZone, now) }) : 'now'
    lines.push(make('p', {}, 'At the first time from ', from, ` on that the rule names, by the clocks in ${there}`))
    if (often) lines.push(make('p', { text: `then as “${often}” says` }))
    return lines
  }
  const own = timeZone === OWN ? '' : 'your time'
  lines.push(make('p', {}, make('strong', { text: words(instant, OWN, now) }), ' ', own))
  if (timeZone !== OWN)
    lines.push(make('p', {}, make('strong', { text: words(instant, timeZone, now) }), ` in ${there}`))
  if (often) lines.push(make('p', { text: `then ${ruleWords(often).toLowerCase()}, by the clocks in ${there}` }))
  const warn = (/** @type {string} */ text) => lines.push(make('p', { class: 'warning', text }))
  const day = new Date(shown).getUTCDate()
  if (often === 'FREQ=MONTHLY' && day > 28)
    warn(`Months without a ${day}${day === 31 ? 'st' : 'th'} day are left out.`)
  if (instant <= now && !often) warn('That is over already.')
  const comes = wall(instant, timeZone).slice(11)
  if (problem === 'skipped')
    warn(`Clocks in ${there} are put forward and skip ${time} on that day: the reminder comes at ${comes}.`)
  if (problem === 'twice')
    warn(`Clocks in ${there} are put back and show ${time} twice on that day: the reminder comes the first time.`)
  if (problem === 'unknown')
    warn(`The server knows how clocks are changed until 2037 only: by clocks in ${there} it may be ${comes} then.`)
  return lines
}
