// Writes tests/data/timezones.json.gz: local times around every change of every zone from 2020 to 2037, and the
// instants that moment-timezone resolves them to. Run `npm ci && npm start` here; the tz release of moment-timezone
// (see the file's `release`) must be the one that pytz has, so raise both versions together.
import { writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import moment from 'moment-timezone';

const FORM = 'YYYY-MM-DD HH:mm';
const MINUTE = 60_000;
const NEAR = [-61, -60, -59, -31, -30, -29, -1, 0, 1, 29, 30, 31, 59, 60, 61];
const FROM = Date.UTC(2020, 0, 1);
const UNTIL = Date.UTC(2038, 0, 1);
// Every zone has these, also one that never changes. After 2037 no rules are known: the last offset stays.
const EVERYWHERE = ['2020-01-01 00:00', '2020-02-29 12:00', '2037-12-31 23:59', '2038-01-19 03:14', '2500-07-01 12:00']
  .map((text) => moment.utc(text, FORM, true).valueOf());

function wallTimes(zone) {
  const walls = new Set(EVERYWHERE);
  zone.untils.forEach((change, i) => {
    if (change < FROM || change >= UNTIL) return;
    for (const offset of [zone.offsets[i], zone.offsets[i + 1]]) {
      for (const minutes of NEAR) walls.add(change + (minutes - offset) * MINUTE);
    }
  });
  return [...walls].sort((a, b) => a - b);
}

// A case is the wall-clock time (minutes since 1970, as if it were UTC) and how far west of UTC moment places it.
function cases(name) {
  return wallTimes(moment.tz.zone(name)).map((wall) => {
    const resolved = moment.tz(moment.utc(wall).format(FORM), FORM, true, name);
    if (!resolved.isValid()) throw new Error(`${name}: ${moment.utc(wall).format(FORM)} is not valid`);
    return [wall / MINUTE, (resolved.valueOf() - wall) / MINUTE];
  });
}

const groups = new Map();
for (const name of moment.tz.names()) {
  const found = cases(name);
  const key = JSON.stringify(found);
  if (!groups.has(key)) groups.set(key, { zones: [], cases: found });
  groups.get(key).zones.push(name);
}

const vectors = { release: moment.tz.dataVersion, 'moment-timezone': moment.tz.version, groups: [...groups.values()] };
const packed = gzipSync(JSON.stringify(vectors), { level: 9 });
writeFileSync(new URL('../../tests/data/timezones.json.gz', import.meta.url), packed);
const count = vectors.groups.reduce((sum, group) => sum + group.zones.length * group.cases.length, 0);
console.log(`${moment.tz.names().length} zones, ${count} cases, tz ${vectors.release}, ${packed.length} bytes`);
