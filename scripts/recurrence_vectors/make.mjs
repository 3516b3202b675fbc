// Writes tests/data/recurrences.json.gz: random rules, zones and starts, the wall-clock times that Node's rrule finds for
// them, and the instants that moment-timezone resolves these to. Run `npm ci && npm start` here; the tz release of
// moment-timezone (see the file's `release`) must be the one that pytz has, so raise both versions together.
import { writeFileSync } from 'node:fs';
import vm from 'node:vm';
import { gzipSync } from 'node:zlib';
import moment from 'moment-timezone';
import rrule from 'rrule';

const FORM = 'YYYY-MM-DD HH:mm';
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const CASES = 700;
const TIMES = 20;
const PATIENCE = 200; // ms; where a rule names no time, rrule searches up to the year 9999
const FROM = Date.UTC(2024, 0, 1);
const UNTIL = Date.UTC(2036, 0, 1);
const LAST = Date.UTC(2038, 0, 1) / MINUTE; // behind it no zone has rules, and the libraries guess
const NOTABLE = ['America/New_York', 'America/Santiago', 'America/St_Johns', 'America/Havana', 'Europe/London',
  'Europe/Berlin', 'Europe/Dublin', 'Africa/Casablanca', 'Africa/Cairo', 'Asia/Beirut', 'Asia/Kolkata',
  'Australia/Lord_Howe', 'Pacific/Chatham', 'UTC'];
const DAYS = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'];

let seed = 5545;
function random() { // mulberry32: the same cases at each run
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}
const maybe = (chance) => random() < chance;
const between = (least, greatest) => least + Math.floor(random() * (greatest - least + 1));
const one = (list) => list[between(0, list.length - 1)];
// In order, as rrule takes hours and minutes, thus also times, in the order of the list.
const some = (most, make) => [...new Set(Array.from({ length: between(1, most) }, make))].sort((a, b) => a - b);
const signed = (greatest) => between(1, greatest) * (maybe(0.3) ? -1 : 1);

function rule() {
  const freq = one(['YEARLY', 'YEARLY', 'MONTHLY', 'MONTHLY', 'WEEKLY', 'WEEKLY', 'DAILY', 'HOURLY', 'MINUTELY']);
  const fine = ['HOURLY', 'MINUTELY'].includes(freq);
  const parts = [`FREQ=${freq}`];
  const list = (name, most, make) => parts.push(`${name}=${some(most, make)}`);
  if (maybe(0.5)) parts.push(`INTERVAL=${fine ? one([1, 2, 3, 5, 7, 10, 12, 15, 25, 36, 45, 60, 90]) : between(1, 6)}`);
  if (maybe(0.25)) list('BYMONTH', 4, () => between(1, 12));
  if (freq !== 'WEEKLY' && maybe(0.25)) list('BYMONTHDAY', 5, () => signed(31));
  if ((fine || freq === 'YEARLY') && maybe(0.15)) list('BYYEARDAY', 8, () => signed(366));
  const weeks = freq === 'YEARLY' && maybe(0.25);
  if (weeks) list('BYWEEKNO', 3, () => (maybe(0.3) ? one([1, 52, 53, -1]) : signed(53)));
  if (maybe(0.4)) {
    const numbered = ['YEARLY', 'MONTHLY'].includes(freq) && !weeks && maybe(0.6);
    list('BYDAY', 4, () => (numbered && maybe(0.9) ? one([1, 2, 3, 4, 5, -1, -2]) : '') + one(DAYS));
  }
  if (maybe(0.3)) list('BYHOUR', 4, () => (maybe(0.6) ? between(0, 3) : between(4, 23)));
  if (maybe(0.3)) list('BYMINUTE', 4, () => one([0, 15, 30, 45, between(0, 59)]));
  if (parts.some((part) => part.startsWith('BY')) && maybe(0.25)) list('BYSETPOS', 2, () => one([1, 1, 2, 3, -1, -1, -2]));
  if (maybe(0.25)) parts.push(`WKST=${one(DAYS)}`);
  return parts;
}

// Minutes since 1970 as if the wall clock were UTC. Half of the starts lie within 30 hours before a change of the zone.
function start(zone) {
  const changes = zone.untils.map((change, i) => [change, zone.offsets[i]]);
  const near = changes.filter(([change]) => change > FROM && change < UNTIL);
  if (near.length && maybe(0.5)) {
    const [change, west] = one(near);
    return change / MINUTE - west - between(1, 30 * 60);
  }
  return between(FROM / MINUTE, UNTIL / MINUTE);
}

const text = (wall) => moment.utc(wall * MINUTE).format(FORM);
const basic = (wall) => moment.utc(wall * MINUTE).format('YYYYMMDDTHHmmss');
const instant = (wall, zone) => moment.tz(text(wall), FORM, true, zone).valueOf() / MINUTE;
const skipped = (wall, zone) => moment.tz(instant(wall, zone) * MINUTE, zone).format(FORM) !== text(wall);

function expand(parts, wall, most) {
  const found = [];
  const options = rrule.RRule.parseString(parts.join(';'));
  const all = () => new rrule.RRule({ ...options, dtstart: new Date(wall * MINUTE) }).all((date) => {
    found.push(date.getTime() / MINUTE);
    return found.length < most;
  });
  vm.runInNewContext('all()', { all }, { timeout: PATIENCE });
  return found;
}

// The rule, zone and start; the wall-clock times as steps from the start on; how far west of UTC each is; whether the
// rule ends there. Or null where rrule finds nothing or is too slow.
function make() {
  const parts = rule();
  const zone = moment.tz.zone(maybe(0.7) ? one(NOTABLE) : one(moment.tz.names()));
  const wall = start(zone);
  if (skipped(wall, zone.name)) return null;
  let walls;
  let shown = parts;
  let ends = false;
  try {
    walls = expand(parts, wall, TIMES);
    if (walls.length && maybe(0.4)) {
      const until = one(walls) + one([0, 0, -1, 1, 60]);
      const end = one([`COUNT=${between(1, TIMES - 1)}`, `UNTIL=${basic(until)}`, 'UTC']);
      ends = !skipped(until, zone.name) || end.startsWith('COUNT');
      if (ends) {
        shown = [...parts, end === 'UTC' ? `UNTIL=${basic(instant(until, zone.name))}Z` : end];
        walls = expand([...parts, end === 'UTC' ? `UNTIL=${basic(until)}` : end], wall, TIMES);
        ends = walls.length < TIMES;
      }
    }
  } catch (error) {
    if (error.code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    return null;
  }
  if (ends && walls.some((at) => at >= LAST)) return null;
  // What is skipped comes later than some of what follows it: without that it cannot be compared.
  while (!ends && walls.length && (walls.at(-1) >= LAST || skipped(walls.at(-1), zone.name))) walls.pop();
  if (!ends) walls = walls.filter((at) => instant(at, zone.name) <= instant(walls.at(-1), zone.name));
  if (!walls.length) return null;
  const steps = walls.map((at, i) => at - (i ? walls[i - 1] : wall));
  return [shown.join(';'), zone.name, text(wall), steps, walls.map((at) => instant(at, zone.name) - at), ends];
}

const cases = [];
while (cases.length < CASES) {
  const found = make();
  if (found) cases.push(found);
}
const vectors = { release: moment.tz.dataVersion, 'moment-timezone': moment.tz.version, cases };
const packed = gzipSync(JSON.stringify(vectors), { level: 9 });
writeFileSync(new URL('../../tests/data/recurrences.json.gz', import.meta.url), packed);
console.log(`${cases.length} rules, tz ${vectors.release}, ${packed.length} bytes`);
