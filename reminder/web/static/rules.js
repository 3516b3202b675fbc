// @ts-check
/** How often, in plain words: the rules that people choose from, and what a rule says. */

/** @type {[rule: string, words: string][]} */
export const RULES = [
  ['', 'Never'],
  ['FREQ=DAILY', 'Every day'],
  ['FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR', 'Every weekday'],
  ['FREQ=WEEKLY', 'Every week'],
  ['FREQ=MONTHLY', 'Every month'],
  ['own', 'By a rule …'],
]

/**
 * The words for a rule; where there are none, the rule itself.
 * @param {string} rule
 */
export const ruleWords = (rule) => RULES.find(([known]) => known === rule)?.[1] ?? rule
