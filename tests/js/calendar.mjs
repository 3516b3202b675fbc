// Reads a calendar from stdin as ical.js understands it, and tells as JSON when each entry's alarms are, in ms, within
// (argv[2], argv[3]]: `{name, alarms: {uid: [instants]}}`. Zones are those that the calendar itself describes.
import { readFileSync } from 'node:fs';
import { argv, stdout } from 'node:process';
import ICAL from 'ical.js';

const [after, until] = argv.slice(2).map(Number);
const calendar = new ICAL.Component(ICAL.parse(readFileSync(0, 'utf8')));
for (const zone of calendar.getAllSubcomponents('vtimezone')) {
  ICAL.TimezoneService.register(zone);
}

const alarms = {};
const note = (uid, start, component) => {
  for (const alarm of component.getAllSubcomponents('valarm')) {
    const at = start.clone();
    at.addDuration(alarm.getFirstPropertyValue('trigger'));
    const instant = at.toUnixTime() * 1000;
    if (instant > after && instant <= until) {
      (alarms[uid] ??= []).push(instant);
    }
  }
};

const entries = calendar.getAllSubcomponents('vevent').map((component) => new ICAL.Event(component, { strictExceptions: true, exceptions: [] }));
const exceptions = entries.filter((entry) => entry.isRecurrenceException());
for (const entry of entries.filter((entry) => !entry.isRecurrenceException())) {
  if (!entry.isRecurring()) {
    note(entry.uid, entry.startDate, entry.component);
    continue;
  }
  exceptions.filter(({ uid }) => uid === entry.uid).forEach((exception) => entry.relateException(exception));
  const iterator = entry.iterator();
  for (let next = iterator.next(); next && (next.toUnixTime() - 7 * 86400) * 1000 <= until; next = iterator.next()) {
    const { startDate, item } = entry.getOccurrenceDetails(next);
    note(entry.uid, startDate, item.component);
  }
}
stdout.write(JSON.stringify({ name: calendar.getFirstPropertyValue('x-wr-calname'), alarms }));
