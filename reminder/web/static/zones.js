// @ts-check
/** The field for a time zone: type-ahead over all that the server knows, this browser's own first. */

import { make } from './dom.js'
import { OWN, wall } from './wall.js'

/** How many are shown at a time; typing brings the others. */
const SHOWN = 60

/** As people type it: in any letter case, with spaces, without accents. @param {string} text */
const plain = (text) =>
  text
    .normalize('NFD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[\s_]+/g, ' ')
    .trim()

/** @param {string} name */
const spaced = (name) => name.replaceAll('_', ' ')

/**
 * Zones that fit what was typed: each word of it begins a part of the name, or stands in it; the former come first.
 * @param {string[]} names
 * @param {string} typed
 */
export function matching(names, typed) {
  const words = plain(typed).split(/\s+/).filter(Boolean)
  const fitting = names.filter((name) => words.every((word) => plain(name).includes(word)))
  const begins = (/** @type {string} */ name) =>
    words.every((word) =>
      plain(name)
        .split(/[/ ]/)
        .some((part) => part.startsWith(word)),
    )
  return [...fitting.filter(begins), ...fitting.filter((name) => !begins(name))]
}

/**
 * Zones that were meant: the one that is called so, else those whose last part is, else all that fit.
 * @param {string[]} names
 * @param {string} typed
 */
export function meant(names, typed) {
  const wanted = plain(typed)
  const called = names.filter((name) => plain(name) === wanted)
  const ending = names.filter((name) => plain(name).endsWith(`/${wanted}`))
  return [called, ending].find((found) => found.length > 0) ?? matching(names, typed)
}

/** The field; what is wrong with what was typed is its `validationMessage`, once it was left. */
export class ZoneField {
  #names = [OWN]
  /** @type {number} */
  #active = -1
  #typed = ''
  #input
  #list
  #now

  /**
   * @param {HTMLInputElement} input
   * @param {HTMLElement} list
   * @param {() => number} now ms since 1970
   */
  constructor(input, list, now) {
    this.#input = input
    this.#list = list
    this.#now = now
    input.value = OWN
    input.addEventListener('focus', () => input.select())
    input.addEventListener('click', () => this.#open(''))
    input.addEventListener('input', () => {
      input.setCustomValidity('')
      this.#open(input.value)
    })
    input.addEventListener('change', () => this.#settle())
    input.addEventListener('blur', () => this.#close())
    input.addEventListener('keydown', (event) => this.#key(event))
    // Else the field would lose the focus, and the list would be gone before the click is done.
    list.addEventListener('mousedown', (event) => event.preventDefault())
    list.addEventListener('click', ({ target }) => {
      const option = /** @type {HTMLElement} */ (target).closest('[role=option]')
      if (option) this.#choose(/** @type {HTMLElement} */ (option))
    })
  }

  /** @param {string[]} names all zones there are */
  offer(names) {
    this.#names = [OWN, ...names.filter((name) => name !== OWN)]
    if (!this.#list.hidden) this.#open(this.#typed)
    else if (document.activeElement !== this.#input) this.#change()
  }

  #change() {
    this.#input.dispatchEvent(new Event('change', { bubbles: true }))
  }

  /** Makes a zone's name of what was typed, as far as all names are known. */
  #settle() {
    const typed = this.#input.value.trim()
    if (!typed || this.#names.length === 1) return
    const [name, ...others] = meant(this.#names, typed)
    let problem = ''
    if (name === undefined) problem = `No time zone is called “${typed}”.`
    else if (others.length === 0) this.#input.value = name
    else problem = `“${typed}” may mean ${others.length + 1} zones, such as ${spaced(name)}: choose one.`
    this.#input.setCustomValidity(problem)
  }

  get #options() {
    return /** @type {HTMLElement[]} */ ([...this.#list.querySelectorAll('[role=option]')])
  }

  /** @param {string} typed */
  #open(typed) {
    this.#typed = typed
    const found = matching(this.#names, typed)
    const options = found
      .slice(0, SHOWN)
      .map((name, number) =>
        make(
          'li',
          { role: 'option', id: `zone-${number}`, 'aria-selected': 'false', 'data-zone': name },
          make('span', { text: spaced(name) }),
          make('span', { class: 'aside', text: this.#aside(name) }),
        ),
      )
    const rest = found.length - options.length
    if (rest > 0)
      options.push(make('li', { role: 'presentation', class: 'aside', text: `and ${rest} more: type to find them` }))
    if (found.length === 0)
      options.push(make('li', { role: 'presentation', class: 'aside', text: 'No zone is called so' }))
    this.#list.replaceChildren(...options)
    this.#list.hidden = false
    this.#input.setAttribute('aria-expanded', 'true')
    this.#activate(typed && found.length ? 0 : -1)
  }

  /** @param {string} name */
  #aside(name) {
    try {
      return `${name === OWN ? 'yours · ' : ''}${wall(this.#now(), name).slice(11)} now`
    } catch {
      return '' // a zone that this browser does not know
    }
  }

  #close() {
    this.#list.hidden = true
    this.#input.setAttribute('aria-expanded', 'false')
    this.#input.removeAttribute('aria-activedescendant')
    this.#active = -1
  }

  /** @param {number} number */
  #activate(number) {
    const options = this.#options
    options[this.#active]?.setAttribute('aria-selected', 'false')
    this.#active = number
    const option = options[number]
    if (option) {
      option.setAttribute('aria-selected', 'true')
      option.scrollIntoView({ block: 'nearest' })
      this.#input.setAttribute('aria-activedescendant', option.id)
    } else {
      this.#input.removeAttribute('aria-activedescendant')
    }
  }

  /** @param {HTMLElement} option */
  #choose(option) {
    this.#input.value = option.dataset.zone ?? ''
    this.#close()
    this.#change()
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const open = !this.#list.hidden
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault()
      const count = this.#options.length
      if (!open) this.#open('')
      else if (count)
        this.#activate(
          event.key === 'ArrowDown' ? (this.#active + 1) % count : (Math.max(this.#active, 0) + count - 1) % count,
        )
    } else if (event.key === 'Enter' && open && this.#active >= 0) {
      event.preventDefault()
      this.#choose(this.#options[this.#active])
    } else if (event.key === 'Tab' && open && this.#active >= 0) {
      this.#choose(this.#options[this.#active])
    } else if (event.key === 'Escape' && open) {
      event.preventDefault()
      this.#close()
    }
  }
}
