// @ts-check
/** Wall clocks: what they show at an instant, and which instant a time on them means. Instants are ms since 1970. */

export const DAY = 86_400_000

/** Where the server's data of zones ends: later, each keeps the difference to UTC that it has then. */
const END = Date.UTC(2037, 11, 31)

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map()

/** @param {string} zone */
function format(zone) {
  let found = formats.get(zone)
  if (!found) {
    const fields = {
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
    }
    found = new Intl.DateTimeFormat(
      'en-US',
      /** @type {any} */ ({ ...fields, timeZone: zone, hourCycle: 'h23', era: 'short' }),
    )
    formats.set(zone, found)
  }
  return found
}

/** The zone of this browser. */
export const OWN = Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC'

/**
 * What clocks in a zone show at an instant, as if it were UTC.
 * @param {number} instant
 * @param {string} zone
 */
export function wallAt(instant, zone) {
  /** @type {Record<string, string>} */
  const parts = Object.fromEntries(
    format(zone)
      .formatToParts(instant)
      .map(({ type, value }) => [type, value]),
  )
  return Date.UTC(+parts.year, +parts.month - 1, +parts.day, +parts.hour, +parts.minute, +parts.second)
}

/**
 * How far clocks in a zone are ahead of UTC at an instant, as the server has it.
 * @param {number} instant
 * @param {string} zone
 */
function ahead(instant, zone) {
  const known = Math.min(instant, END)
  return wallAt(known, zone) - known
}

/** @typedef {{ instant: number, problem: 'skipped' | 'twice' | 'unknown' | null }} Resolved */

/**
 * Which instant clocks in a zone mean, as the server has it: `skipped` where they never show that time, which means as
 * much later; `twice` where they show it two times, which means the first; `unknown` where this browser has clocks
 * show another time then. Undefined for what is no time or zone.
 * @param {number} shown what they show, as if it were UTC
 * @param {string} zone
 * @returns {Resolved | undefined}
 */
export function meaning(shown, zone) {
  if (Number.isNaN(shown)) return undefined
  try {
    // By the differences to UTC of the day before and of the day after: clocks are not changed twice within two days.
    const [first, second] = [shown - DAY, shown + DAY]
      .map((instant) => shown - ahead(instant, zone))
      .sort((one, other) => one - other)
    const found = [first, second].filter((instant) => instant + ahead(instant, zone) === shown)
    if (found.length === 0) return { instant: second, problem: 'skipped' }
    if (found.length === 2 && first !== second) return { instant: first, problem: 'twice' }
    return { instant: found[0], problem: wallAt(found[0], zone) === shown ? null : 'unknown' }
  } catch (error) {
    if (error instanceof RangeError) return undefined // a zone that this browser does not know
    throw error
  }
}

/**
 * The time `YYYY-MM-DD HH:mm` as if it were UTC; NaN for what is no time.
 * @param {string} wall
 */
export const asUTC = (wall) => Date.parse(`${wall.replace(' ', 'T')}:00Z`)

/**
 * Which instant clocks in a zone mean by `YYYY-MM-DD HH:mm`.
 * @param {string} wall
 * @param {string} zone
 */
export const resolve = (wall, zone) => meaning(asUTC(wall), zone)

/**
 * An instant as `YYYY-MM-DD HH:mm` in a zone.
 * @param {number} instant
 * @param {string} zone
 */
export function wall(instant, zone) {
  return new Date(wallAt(instant, zone)).toISOString().slice(0, 16).replace('T', ' ')
}

/**
 * An instant for people: day and time, with the year where it is another one.
 * @param {number} instant
 * @param {string} zone
 * @param {number} now
 */
export function words(instant, zone, now) {
  const year = wall(instant, zone).slice(0, 4) === wall(now, zone).slice(0, 4) ? undefined : 'numeric'
  return new Date(instant).toLocaleString(
    undefined,
    /** @type {any} */ ({
      weekday: 'short',
      day: 'numeric',
      month: 'short',
      year,
      hour: '2-digit',
      minute: '2-digit',
      timeZone: zone,
    }),
  )
}

/**
 * How long that is, in its two largest units.
 * @param {number} duration ms
 */
export function span(duration) {
  const seconds = Math.max(0, Math.ceil(duration / 1000))
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ]
  if (days) return hours && days < 10 ? `${days} d ${hours} h` : `${days} d`
  if (hours) return minutes ? `${hours} h ${minutes} min` : `${hours} h`
  if (minutes) return `${minutes} min ${String(seconds % 60).padStart(2, '0')} s`
  return `${seconds} s`
}
