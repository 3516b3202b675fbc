// @ts-check
/** Wall clocks: what they show at an instant, and which instant a time on them means. Instants are ms since 1970. */

const DAY = 86_400_000

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
 * Which instant clocks in a zone mean: `skipped` where they never show that time, which means as much later; `twice`
 * where they show it two times, which means the first. As the server has it. Undefined for what is no time or zone.
 * @param {string} wall `YYYY-MM-DD HH:mm`
 * @param {string} zone
 * @returns {{ instant: number, problem: 'skipped' | 'twice' | null } | undefined}
 */
export function resolve(wall, zone) {
  const shown = Date.parse(`${wall.replace(' ', 'T')}:00Z`)
  if (Number.isNaN(shown)) return undefined
  try {
    // By the differences to UTC of the day before and of the day after: clocks are not changed twice within two days.
    const [first, second] = [shown - DAY, shown + DAY]
      .map((instant) => shown - (wallAt(instant, zone) - instant))
      .sort((one, other) => one - other)
    const found = [first, second].filter((instant) => wallAt(instant, zone) === shown)
    if (found.length === 0) return { instant: second, problem: 'skipped' }
    return { instant: found[0], problem: found.length === 2 && first !== second ? 'twice' : null }
  } catch (error) {
    if (error instanceof RangeError) return undefined // a zone that this browser does not know
    throw error
  }
}

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
