// @ts-check
/** What the page's modules do alike with elements. All text is put in as text, never as HTML. */

/**
 * The element of that id, which is there.
 * @param {string} id
 * @returns {any}
 */
export const byId = (id) => document.getElementById(id)

/**
 * A new element. Of `properties`, functions listen to the event of their name, `text` is what it says, others are
 * attributes; what is undefined or false is left out.
 * @param {string} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Node | string | false | undefined)} children
 */
export function make(tag, { text, ...properties } = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === 'function') element.addEventListener(name, value)
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : String(value))
  }
  if (text !== undefined) element.textContent = text
  element.append(...children.filter((child) => child !== undefined && child !== false))
  return element
}

/**
 * What a row is about: a name, and behind it tags, of which those that are undefined are left out.
 * @param {{ name: string, channel?: string }} item
 * @param {...(string | undefined)} tags
 */
export const title = ({ name, channel }, ...tags) =>
  make(
    'div',
    { class: 'what' },
    make('strong', { text: name }),
    ...[...tags, channel].map((text) => text !== undefined && make('span', { class: 'tag', text })),
  )

/**
 * A button of a row.
 * @param {string} text
 * @param {string} label what it is called where the row is not seen
 * @param {() => void} click
 */
export const act = (text, label, click) =>
  make('button', { type: 'button', class: 'small', text, 'aria-label': label, click })

/**
 * Makes a list show `items`, in order. Rows whose item has not changed stay as they are, with the focus in them;
 * from one that goes or is made anew the focus moves to what is there then.
 * @template T
 * @param {HTMLElement} list
 * @param {T[]} items
 * @param {(item: T) => string} key
 * @param {(item: T) => HTMLElement} row
 * @param {(item: T) => string} [version] tells whether a row has to be made anew
 */
export function show(list, items, key, row, version = JSON.stringify) {
  const focused = [...list.children].findIndex((one) => one.contains(document.activeElement))
  const rows = new Map([...list.children].map((one) => [/** @type {HTMLElement} */ (one).dataset.key, one]))
  items.forEach((item, number) => {
    let one = /** @type {HTMLElement | undefined} */ (rows.get(key(item)))
    rows.delete(key(item))
    if (one?.dataset.version !== version(item)) {
      const made = row(item)
      made.dataset.key = key(item)
      made.dataset.version = version(item)
      one?.replaceWith(made)
      one = made
    }
    if (list.children[number] !== one) list.insertBefore(one, list.children[number] ?? null)
  })
  for (const gone of rows.values()) gone.remove()
  if (focused >= 0 && !list.contains(document.activeElement)) {
    // Who moves by keyboard goes on from there, not from the top of the page.
    const near = list.children[Math.min(focused, list.children.length - 1)]?.querySelector('button')
    const next = near ?? list.querySelector('button') ?? byId('main')
    next.focus()
  }
}

/**
 * Says an error at an element, or takes it away.
 * @param {HTMLElement} element
 * @param {string} [text]
 */
export function complain(element, text = '') {
  element.textContent = text
  element.hidden = !text
}
