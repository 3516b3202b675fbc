"""The page in a browser: what people do with it, and what they see of what happens to the server meanwhile."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tokens
from tests.faults import ClockedServer, Pipeline
from tests.page.browser import Browser, Page
from tests.server import MINUTE, wall

pytestmark = pytest.mark.long

Visit = Callable[..., Page]
SETTINGS = {'PING_INTERVAL': '1', 'PING_TIMEOUT': '3'}
PHONE = {'viewport': {'width': 375, 'height': 667}, 'hasTouch': True, 'isMobile': True}
UTC = {'timezoneId': 'UTC'}
COMING = '#upcoming .row'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClockedServer]:
    """A server whose clock is weeks ahead of the browser's."""
    with ClockedServer(tmp_path, '2027-01-15 09:59:10', **SETTINGS) as server:
        yield server.start()


def ask(server: ClockedServer, command: str, **data: Any) -> Any:
    """What another client is answered, which must succeed."""
    with Pipeline(server.url) as pipeline:
        number = pipeline.ask({'command': command, 'data': data})
        pipeline.read_answers()
        answer = pipeline.answered[number]
    assert answer['status'] == 'success', answer
    return answer['response']


def schedule(server: ClockedServer, name: str, due: int, **more: Any) -> Any:
    return ask(server, 'scheduleEvent', eventName=name, time=wall(due), timeZone='UTC', **more)


def hasten(server: ClockedServer, due: int) -> None:
    """Sets the clock, so that the minute `due` is about to begin."""
    server.set_clock(due - 1_000)


def fill(page: Page, name: str, due: int) -> None:
    """Fills the form of a page in UTC."""
    day, time = wall(due).split()
    page.fill('#eventName', name)
    page.fill('#date', day)
    page.fill('#time', time)


def row(name: str) -> str:
    return f'{COMING}:has-text("{name}")'


def wait_until_cancelled(server: ClockedServer, id: str) -> None:
    deadline = time.monotonic() + 5
    while ask(server, 'getEvent', _id=id)['state'] != 'cancelled':
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_is_scheduled_fires_and_what_fires_while_the_server_is_down_is_marked_as_missed(
    server: ClockedServer, visit: Visit
) -> None:
    # Given a page that nobody looks at, which may notify
    page = visit(server.url, **UTC)
    page.evaluate(
        'window.told = []; document.hasFocus = () => false;'
        'window.Notification = class { static permission = "granted"; constructor(...all) { told.push(all) } }'
    )
    page.sees('#connection[data-state=connected]')

    # When somebody schedules an event for the next minute, and its minute comes
    due = server.next_minute()
    fill(page, 'Tea', due)
    page.click('#submit')
    page.sees(f'{row("Tea")} .count:has-text("in ")')
    hasten(server, due)
    page.sees('#fired-list .live:has-text("Tea")')

    # Then it is told in each way, once
    assert 0 <= server.now() - due < 3_000
    assert page.do('title') == '(1) Tea'
    assert [name for name, _ in page.evaluate('told')] == ['Tea']
    page.misses(row('Tea'))

    # When the server is killed over the next event
    schedule(server, 'Coffee', due + MINUTE)
    server.kill()
    page.sees('#notice:has-text("cannot be reached")')
    assert page.text('#connection') == 'Connection lost'
    server.skip_to(due + MINUTE + 5_000)
    server.start()

    # Then the page comes back, and shows it as missed
    page.sees('#fired-list .missed:has-text("Coffee")')
    page.misses('#notice')
    assert page.texts('#fired-list strong') == ['Coffee', 'Tea']

    # And so does a page that was closed meanwhile
    page.do('goto', 'about:blank')
    schedule(server, 'Cake', due + 2 * MINUTE)
    server.set_clock(due + 2 * MINUTE - 500)
    server.wait_until(due + 2 * MINUTE + 500)
    page.do('goto', server.url)
    page.sees('#fired-list .missed:has-text("Cake")')
    assert page.texts('#fired-list strong') == ['Cake', 'Coffee', 'Tea']


def test_what_nobody_was_done_with_outlives_a_reload(server: ClockedServer, visit: Visit) -> None:
    # Given a page that has missed one reminder, and got another
    page = visit(server.url, **UTC)
    page.sees('#connection[data-state=connected]')
    due = server.next_minute()
    for number, name in enumerate(('Missed', 'Done', 'Live')):
        schedule(server, name, due + number * MINUTE)
    page.do('goto', 'about:blank')
    server.set_clock(due - 500)
    server.wait_until(due + 500)
    page.do('goto', server.url)
    page.sees('#fired-list .missed:has-text("Missed")')
    for number, name in ((1, 'Done'), (2, 'Live')):
        hasten(server, due + number * MINUTE)
        page.sees(f'#fired-list .live:has-text("{name}")')
    page.click('role=button[name="Done: Done"]')

    # When it is loaded anew
    page.do('reload')
    # Then both are there as they were
    page.sees('#fired-list .missed:has-text("Missed")')
    page.sees('#fired-list .live:has-text("Live")')
    assert page.texts('#fired-list strong') == ['Live', 'Missed']

    # When somebody is done with all
    page.click('#fired-clear')
    page.do('reload')
    page.sees(COMING + ', #upcoming .empty')
    # Then they stay away
    assert page.texts('#fired-list li') == []
    assert not page.do('isVisible', '#fired-title')


def test_what_others_schedule_is_shown_soon_and_at_once_to_who_comes_back(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url, **UTC)
    page.sees('#upcoming .empty')
    due = server.next_minute() + 60 * MINUTE
    schedule(server, 'Tea', due)
    begin = time.monotonic()
    page.sees(row('Tea'))
    assert time.monotonic() - begin < 7

    # A tab that nobody sees does not ask; it does when somebody looks at it.
    page.evaluate("Object.defineProperty(document, 'hidden', { get: () => window.away }); window.away = true")
    time.sleep(1)
    schedule(server, 'Cake', due)
    time.sleep(6)
    assert not page.do('isVisible', row('Cake'))
    page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")
    begin = time.monotonic()
    page.sees(row('Cake'))
    assert time.monotonic() - begin < 2


def test_what_is_read_out_is_put_where_a_screen_reader_listens_already(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url)
    page.sees('#upcoming .empty')
    for region in ('[role=log]', '#incomplete', '#done', '#upcoming [role=status]'):
        assert page.evaluate(f"document.querySelector('{region}').checkVisibility()"), region
        assert page.text(region) == ''
    # What stands around the reminders takes no room before the first.
    assert page.evaluate("document.querySelector('#fired').getBoundingClientRect().height") == 0
    assert not page.do('isVisible', '#fired-title')


def test_the_sound_says_that_it_waits_for_a_first_click(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url)
    page.sees('#sound[aria-label="Sound, after a first click"][title*="only after"]')
    page.click('h1')
    page.sees('#sound[aria-label="Sound"][title=""]')
    # One key or one finger will do as well.
    page = visit(server.url, **PHONE)
    page.do('tap', 'h1')
    page.sees('#sound[aria-label="Sound"]')
    page = visit(server.url)
    page.key('Tab')
    page.sees('#sound[aria-label="Sound"]')
    # Without a sound there is nothing to wait for.
    page = visit(server.url)
    page.click('#sound')
    page.sees('#sound[aria-pressed=false][aria-label="Sound"]')


def test_cancelling_can_be_undone_for_ten_seconds(server: ClockedServer, visit: Visit) -> None:
    due = server.next_minute() + 60 * MINUTE
    first, second, third = (schedule(server, name, due)['_id'] for name in ('First', 'Second', 'Third'))
    page = visit(server.url)

    # When three are cancelled, and one of them is kept after all
    for name in ('First', 'Second', 'Third'):
        page.click(f'role=button[name="Cancel {name}"]')
        page.sees(f'{COMING}.cancelled:has-text("{name}")')
    page.click('role=button[name=/Undo: keep First/]')
    page.sees('role=button[name="Cancel First"]')
    # Then nothing was changed yet
    assert {ask(server, 'getEvent', _id=id)['state'] for id in (first, second, third)} == {'pending'}

    # When the ten seconds are over
    page.evaluate('document.querySelector(\'[aria-label="Undo: keep Third"]\').focus()')
    page.misses(row('Second'))
    page.misses(row('Third'))
    assert page.focused == 'Change First'
    # Then those are cancelled that were not kept
    states = [ask(server, 'getEvent', _id=id)['state'] for id in (first, second, third)]
    assert states == ['pending', 'cancelled', 'cancelled']


def test_a_cancellation_that_is_refused_is_told_until_it_was_read(tmp_path: Path, visit: Visit) -> None:
    with ClockedServer(tmp_path, '2027-01-15 09:59:50', AUTH_SECRET=tokens.SECRET, **SETTINGS) as server:
        server.start()
        good, listener = (tokens.token(server.now(), aud=None, iss=None, **more) for more in ({}, {'scope': 'listen'}))
        page = visit(server.url, **UTC)
        page.fill('#token', good)
        page.key('Enter')
        page.sees('#connection[data-state=connected]')
        for name in ('Tea', 'Cake'):
            fill(page, name, server.next_minute() + 60 * MINUTE)
            page.click('#submit')
            page.sees(row(name))

        # When somebody cancels who may only listen
        page.click('#settings-open')
        page.click('#token-forget')
        page.fill('#token', listener)
        page.key('Enter')
        page.sees('#connection[data-state=connected]')
        for name in ('Tea', 'Cake'):
            page.click(f'role=button[name="Cancel {name}"]')
        page.sees('#refused:has-text("Cake")')
        time.sleep(6)  # longer than it takes until the list is fetched anew
        # Then it is told of each why not, on each tab, until somebody has read it
        page.click('#tab-series')
        told = ' '.join(f"“{name}” was not cancelled: scope '[a-z ]+' is required[.]" for name in ('Tea', 'Cake'))
        assert re.fullmatch(told, page.text('#refused-text'))
        assert page.judge() == []
        page.click('#refused-close')
        page.misses('#refused')
        page.click('#tab-upcoming')
        page.sees('role=button[name="Cancel Tea"]')
        assert page.focused == 'tab-upcoming'


def test_a_decision_to_cancel_outlives_the_page(server: ClockedServer, visit: Visit) -> None:
    due = server.next_minute() + 60 * MINUTE
    left, crashed = (schedule(server, name, due)['_id'] for name in ('Left', 'Crashed'))
    page = visit(server.url)

    # When the page is left within the ten seconds
    page.click('role=button[name="Cancel Left"]')
    page.do('goto', 'about:blank')
    # Then the event is cancelled at once
    wait_until_cancelled(server, left)

    # When there is no way to tell the server as the page is left
    page.do('goto', server.url)
    page.click('role=button[name="Cancel Crashed"]')
    server.kill()
    page.do('goto', 'about:blank')
    server.start()
    assert ask(server, 'getEvent', _id=crashed)['state'] == 'pending'
    # Then the next visit does
    page.do('goto', server.url)
    wait_until_cancelled(server, crashed)


def test_events_and_series_are_changed(server: ClockedServer, visit: Visit) -> None:
    due = server.next_minute() + 60 * MINUTE
    event = schedule(server, 'Lunch', due, payload={'room': 7})['_id']
    series = schedule(server, 'Digest', due, repeat='FREQ=DAILY')['_id']
    page = visit(server.url, **UTC)

    page.click('role=button[name="Change Lunch"]')
    assert page.focused == 'form-title'
    fill(page, 'Late lunch', due + 30 * MINUTE)
    page.fill('#channel', 'canteen')
    page.click('#submit')
    page.sees(row('Late lunch'))
    changed = ask(server, 'getEvent', _id=event)
    assert (changed['name'], changed['localTime'], changed['channel']) == (
        'Late lunch',
        wall(due + 30 * MINUTE),
        'canteen',
    )
    assert changed['payload'] == {'room': 7}

    page.click('#tab-series')
    page.click('role=button[name="Change Digest"]')
    page.do('selectOption', '#repeat', 'own')
    page.fill('#rule', 'FREQ=WEEKLY;BYDAY=MO,TH')
    page.click('#submit')
    page.sees('#series .row:has-text("FREQ=WEEKLY;BYDAY=MO,TH")')
    assert ask(server, 'getEvent', _id=series)['repeat'] == 'FREQ=WEEKLY;BYDAY=MO,TH'

    # Leaving a change as it was changes nothing, and gives the focus back.
    page.click('role=button[name="Change Digest"]')
    page.fill('#eventName', 'Something else')
    page.fill('#timeZone', 'Atlantis')
    page.click('#leave')
    assert page.do('inputValue', '#timeZone') == 'UTC'
    assert page.text('#form-title') == 'New reminder'
    assert page.focused == 'Change Digest'


def test_errors_stand_at_the_fields_that_they_name(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url)
    wait_for_zones(page)
    wrong = [
        ('#eventName', '', 'Tea', '#eventName-error', 'Say what to be reminded of.'),
        ('#eventName', '  ', 'Tea', '#eventName-error', 'Say what to be reminded of.'),
        ('#timeZone', 'Mars/Olympus', 'UTC', '#timeZone-error', 'No time zone is called “Mars/Olympus”.'),
        ('#timeZone', '', 'UTC', '#timeZone-error', 'Choose a time zone.'),
        ('#date', '', '2030-01-01', '#time-error', 'Choose a date.'),
        ('#date', '2020-01-01', '2030-01-01', '#time-error', 'should be in future'),
        ('#time', '', '09:00', '#time-error', 'Choose a time.'),
        ('#channel', 'team web', '', '#channel-error', "channel='team web' is invalid"),
    ]
    page.fill('#eventName', 'Tea')
    for field, bad, good, error, text in wrong:
        page.fill(field, bad)
        page.key('Escape')  # the list of zones lies over the button
        page.click('#submit')
        page.sees(error)
        assert text in page.text(error)
        assert page.focused.lower() == field[1:].lower()
        assert page.evaluate(f'document.querySelector("{field}").getAttribute("aria-invalid")') == 'true'
        page.fill(field, good)
        page.misses(error)
    page.do('selectOption', '#repeat', 'own')
    for rule, text in (('', 'Write the rule'), ('FREQ=SECONDLY', 'is invalid')):
        page.fill('#rule', rule)
        page.click('#submit')
        page.sees(f'#repeat-error:has-text("{text}")')
        assert page.focused == 'rule'
    page.do('selectOption', '#repeat', 'FREQ=DAILY')
    page.misses('#repeat-error')
    page.click('#submit')
    page.sees('#done:has-text("Scheduled: Tea")')

    # What was said of the last one is no answer to the next.
    page.click('#submit')
    page.sees('#eventName-error')
    page.misses('#done')


def test_who_submits_without_a_connection_is_told_that_it_waits(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url)
    page.sees('.preview strong:has-text("15 Jan")')  # it is proposed by the server's clock
    server.kill()
    page.sees('#notice')
    page.fill('#eventName', 'Tea')
    page.click('#submit')
    page.sees('#done:has-text("waits for the connection")')
    assert page.judge() == []
    server.start()
    page.sees('#done:has-text("Scheduled: Tea")')


WEEKDAYS = 'FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR'
PREVIEWED = [
    ('FREQ=DAILY', '2027-01-20 09:00', 'then every day'),
    ('FREQ=DAILY', '2027-01-15 09:00', 'then every day'),
    ('FREQ=DAILY', '2027-03-28 02:30', 'the reminder comes at 03:30'),
    ('FREQ=WEEKLY', '2026-12-24 23:30', 'then every week'),
    (WEEKDAYS, '2027-01-16 09:00', 'then every weekday'),
    (WEEKDAYS, '2020-02-29 09:00', 'then every weekday'),
    ('FREQ=MONTHLY', '2026-10-31 09:00', 'Months without a 31st day are left out'),
    ('FREQ=MONTHLY', '2026-12-30 09:00', 'Months without a 30th day are left out'),
    ('', '2040-07-01 09:00', 'by clocks in Berlin it may be 10:00'),
    ('FREQ=DAILY', '2040-07-01 09:00', 'by clocks in Berlin it may be 10:00'),
]


def test_what_is_previewed_is_what_the_server_schedules(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url)
    page.sees('#server-time:has-text("10:")')
    for number, (repeat, start, then) in enumerate(PREVIEWED):
        day, time = start.split()
        page.fill('#eventName', f'Digest {number}')
        page.do('selectOption', '#repeat', repeat)
        page.fill('#date', day)
        page.fill('#time', time)
        page.sees(f'#preview:has-text("{then}")')
        previewed = page.text('#preview strong')
        page.click('#submit')
        page.sees(f'#done:has-text("Scheduled: Digest {number}")')
        assert page.text('#done').startswith(f'Scheduled: Digest {number}, {previewed}.')


def test_of_a_rule_of_ones_own_no_time_is_claimed(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url)
    page.do('selectOption', '#repeat', 'own')
    page.fill('#date', '2027-01-16')
    page.fill('#time', '09:00')
    page.fill('#rule', 'Every Monday')
    page.sees('#preview:has-text("At the first time from Sat 16 Jan, 09:00 on that the rule names")')
    page.sees('#preview:has-text("then as “Every Monday” says")')
    page.misses('#preview-count')


def test_a_time_that_clocks_skip_or_show_twice_is_told_before_and_after(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url, timezoneId='America/New_York')
    page.fill('#eventName', 'Night shift')
    page.fill('#timeZone', 'Europe/Berlin')
    page.fill('#date', '2027-10-31')
    page.fill('#time', '02:30')
    page.sees('.preview .warning:has-text("show 02:30 twice")')
    page.fill('#date', '2027-03-28')
    page.sees('.preview .warning:has-text("the reminder comes at 03:30")')
    assert [text.strip() for text in page.texts('.preview strong')] == ['Sat 27 Mar, 21:30', 'Sun 28 Mar, 03:30']
    page.click('#submit')
    page.sees('#done:has-text("does not exist in Europe/Berlin")')


def wait_for_zones(page: Page) -> None:
    """Waits until the page knows which zones there are."""
    page.click('#timeZone')
    page.sees('#zones li:has-text("more: type to find them")')
    page.key('Escape')


def test_a_zone_is_what_was_typed_for_it(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url)
    wait_for_zones(page)
    for typed, zone in (
        ('america/new york', 'America/New_York'),
        ('New  York', 'America/New_York'),
        ('são paulo', 'America/Sao_Paulo'),
        ('tokyo', 'Asia/Tokyo'),
        ('utc', 'UTC'),
        ('honolu', 'Pacific/Honolulu'),
    ):
        page.fill('#timeZone', typed)
        page.click('#form-title')
        assert page.do('inputValue', '#timeZone') == zone
        page.sees('#preview')
    for typed, error in (('Atlantis', 'No time zone is called “Atlantis”.'), ('australia', 'choose one')):
        page.fill('#timeZone', typed)
        page.click('#form-title')
        assert page.do('inputValue', '#timeZone') == typed
        page.sees(f'#timeZone-error:has-text("{error}")')
        # One that is chosen is no longer wrong.
        page.click('#timeZone')
        page.click('#zones li:first-child')
        page.misses('#timeZone-error')


def test_a_time_is_proposed_by_the_clocks_of_the_zone_until_somebody_chooses_one(
    server: ClockedServer, visit: Visit
) -> None:
    page = visit(server.url)
    page.sees('.preview strong:has-text("Fri 15 Jan, 1")')  # by the server's clock, which is weeks ahead

    def proposed(typed: str) -> str:
        page.fill('#timeZone', typed)
        page.click('#form-title')
        page.sees('#preview:not(:has-text("over already"))')
        return str(page.do('inputValue', '#time'))

    wait_for_zones(page)
    assert proposed('Tokyo').startswith(('19:', '20:'))
    assert proposed('Honolulu').startswith(('00:', '01:'))
    page.fill('#time', '11:30')
    assert proposed('New York') == '11:30'


def test_a_time_is_proposed_also_before_the_server_has_told_its_own(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url, script='window.WebSocket = class extends EventTarget { send() {} close() {} }')
    page.sees('#preview')
    assert page.do('inputValue', '#date')


def test_zones_are_found_by_typing(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url)
    page.sees('#connection[data-state=connected]')
    page.click('#timeZone')
    page.sees('#zones li:first-child:has-text("Europe/Berlin")')
    page.sees('#zones li:has-text("more: type to find them")')
    assert re.search(r'yours · 1[01]:\d\d now', page.text('#zones li:first-child'))
    page.key('Control+a')
    page.type('new yo')
    page.sees('#zones li:first-child[aria-selected=true]:has-text("America/New York")')
    page.key('Enter')
    assert page.do('inputValue', '#timeZone') == 'America/New_York'
    page.misses('#zones')
    page.sees('#preview:has-text("in New York")')


MORE_WHILE_FETCHED_ANEW = """(async () => {
  const { PagedList } = await import('/static/paged.js')
  const panel = document.createElement('section')
  for (const name of ['rows', 'empty', 'error', 'more']) {
    panel.append(Object.assign(document.createElement('div'), { className: name }))
  }
  const answers = []
  const fetch = (after, limit) =>
    new Promise((resolve) => {
      const items = Array.from({ length: limit }, (_, number) => Number(after ?? 0) + number)
      answers.push(() => resolve({ items, next: String(items.at(-1) + 1) }))
    })
  const row = () => document.createElement('li')
  const list = new PagedList(panel, { fetch, key: String, row, version: String })
  const first = list.refresh()
  answers.shift()()
  await first
  panel.querySelector('.more').click()
  const second = list.refresh()
  for (const answer of answers) answer()
  await second
  return panel.querySelectorAll('li').length
})()"""


def test_more_is_shown_also_where_the_list_is_fetched_anew_meanwhile(server: ClockedServer, visit: Visit) -> None:
    assert visit(server.url, **UTC).evaluate(MORE_WHILE_FETCHED_ANEW) == 40


def test_lists_are_paged(server: ClockedServer, visit: Visit) -> None:
    due = server.next_minute()
    with Pipeline(server.url) as pipeline:
        for number in range(45):
            pipeline.schedule(f'Past {number:02}', due)
            pipeline.schedule(f'Future {number:02}', due + 60 * MINUTE + number * MINUTE)
        for number in range(25):
            data = {'eventName': f'Series {number:02}', 'time': wall(due + 90 * MINUTE), 'timeZone': 'UTC'}
            pipeline.ask({'command': 'scheduleEvent', 'data': data | {'repeat': 'FREQ=DAILY'}})
        pipeline.read_answers()
    hasten(server, due)
    server.wait_until(due + 500)
    page = visit(server.url, **UTC)

    for panel, tab, counts in (
        ('#upcoming', '#tab-upcoming', [20, 40, 60, 70]),
        ('#series', '#tab-series', [20, 25]),
        ('#history', '#tab-history', [20, 40, 45]),
    ):
        page.click(tab)
        for count in counts:
            page.sees(f'{panel} .row:nth-child({count})')
            assert len(page.texts(f'{panel} .row')) == count
            if count != counts[-1]:
                page.click(f'{panel} .more')
        page.misses(f'{panel} .more')
        names = page.texts(f'{panel} .row strong')
        assert len(set(names)) == counts[-1]
    page.click('#day-before')
    page.sees('#history .empty')
    page.click('#day-after')
    page.sees('#history .row:nth-child(20)')


MISFITS = """(() => {
  const all = [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility() && !one.closest('.skip'))
  const lines = (one) => {
    const range = document.createRange()
    range.selectNodeContents(one)
    return new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size
  }
  const measure = document.createElement('canvas').getContext('2d')
  const cut = (select) => {
    const { font, paddingLeft, paddingRight } = getComputedStyle(select)
    measure.font = font
    const room = select.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight)
    return Math.max(...[...select.options].map(({ text }) => measure.measureText(text).width)) > room
  }
  const told = (kind, found) => found.map((one) => `${kind}: ${one.outerHTML.slice(0, 100)}`)
  return [
    ...told('outside', all.filter((one) => {
      const { left, right } = one.getBoundingClientRect()
      return left < 0 || right > document.documentElement.clientWidth + 0.5
    })),
    ...told('broken', all.filter((one) => one.matches('button, time, .count') && lines(one) > 1)),
    ...told('cut', all.filter((one) => one.matches('.tabs') && one.scrollWidth > one.clientWidth)),
    ...told('cut', all.filter((one) => one.matches('select') && cut(one))),
  ]
})()"""
"""What is not as wide as there is room for it."""


def look_through(server: ClockedServer, page: Page) -> None:
    """Shows all there is, of which nothing may be outside, cut, or broken in two where that is hard to read."""
    due = server.next_minute()
    for name, later, more in (
        ('Now', 0, {}),
        ('Train to Hamburg', 70 * MINUTE, {'channel': 'team/' + 'web' * 20}),
        ('Board meeting', 12 * 60 * MINUTE, {'repeat': 'FREQ=MONTHLY'}),
        ('Passport', 1_200 * 24 * 60 * MINUTE, {}),
        ('Unbroken' * 20, 80 * MINUTE, {}),
    ):
        schedule(server, name, due + later, **more)
    page.sees(row('Passport'))
    hasten(server, due)
    page.sees('#fired-list .live')
    for tab in ('upcoming', 'series', 'history'):
        page.click(f'#tab-{tab}')
        page.sees(f'#{tab} .row')
        assert page.evaluate(MISFITS) == []
    page.click('#settings-open')
    assert page.evaluate(MISFITS) == []


@pytest.mark.parametrize('width', [320, 360, 920, 1100])
def test_it_fits_each_width(server: ClockedServer, visit: Visit, width: int) -> None:
    look_through(server, visit(server.url, timezoneId='America/Argentina/Buenos_Aires', viewport=size(width)))


def test_it_fits_where_letters_are_large(server: ClockedServer) -> None:
    browser = Browser('--blink-settings=defaultFontSize=24')
    try:
        page = browser.page(server.url, viewport=size(390))
        assert page.evaluate('parseFloat(getComputedStyle(document.body).fontSize)') == 24
        look_through(server, page)
    finally:
        browser.close()


def size(width: int) -> dict[str, int]:
    return {'width': width, 'height': 800}


def test_how_long_until_a_far_day_is_told_in_months_and_years(server: ClockedServer, visit: Visit) -> None:
    due = server.next_minute()
    for name, days in (('Soon', 99), ('Later', 150), ('Much later', 1_200)):
        schedule(server, name, due + days * 24 * 60 * MINUTE)
    page = visit(server.url)
    for name, text in (('Soon', 'in 99 d'), ('Later', 'in 5 months'), ('Much later', 'in 3 years')):
        page.sees(f'{COMING}:has(strong:text-is("{name}")) .count:text-is("{text}")')


@pytest.mark.parametrize('look', [{'forcedColors': 'active'}, {'colorScheme': 'dark'}, {'colorScheme': 'light'}])
def test_what_is_chosen_and_how_it_stands_is_seen_in_each_palette(
    server: ClockedServer, visit: Visit, look: dict[str, str]
) -> None:
    page = visit(server.url, **look)
    page.sees('#connection[data-state=connected]')
    page.sees('#preview-box')

    def color(selector: str, name: str, pseudo: str = '') -> str:
        return str(page.evaluate(f"getComputedStyle(document.querySelector('{selector}'), '{pseudo}')['{name}']"))

    ground = color('body', 'backgroundColor')
    # The border of the tab that is chosen is no part of its bar.
    assert color('#tab-upcoming', 'borderTopWidth') == '1px'
    assert color('#tab-upcoming', 'borderTopColor') != color('.tabs', 'backgroundColor')
    assert color('#tab-upcoming', 'borderTopColor') != color('#tab-series', 'borderTopColor')
    assert color('#connection', 'backgroundColor', '::before') != ground
    seen = [color('#preview-box', name) for name in ('backgroundColor', 'borderTopColor')]
    assert any(shown not in (ground, 'rgba(0, 0, 0, 0)') for shown in seen)


def test_it_fits_a_phone(server: ClockedServer, visit: Visit) -> None:
    due = server.next_minute()
    schedule(server, 'A name that is as long as names of meetings tend to be, and then some ' * 2, due + 60 * MINUTE)
    schedule(server, 'Unbroken' * 20, due)
    page = visit(server.url, **PHONE)
    page.do('tap', '#date')
    page.fill('#eventName', 'Pocket')
    page.do('tap', 'text=10 min')
    page.do('tap', '#submit')
    page.sees(row('Pocket'))
    hasten(server, due)
    page.sees('#fired-list .live')
    for tab in ('#tab-series', '#tab-history', '#tab-upcoming'):
        page.do('tap', tab)
        assert page.evaluate('document.documentElement.scrollWidth') == 375
    small = page.evaluate(
        '[...document.querySelectorAll("button")].filter((one) => one.offsetParent && one.offsetHeight < 24).length'
    )
    assert small == 0


def test_the_keyboard_is_enough(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url, **UTC)
    page.sees('#connection[data-state=connected]')
    page.key('Tab')
    assert page.focused == 'Skip to what is coming'

    def tab_to(name: str) -> None:
        for _ in range(40):
            if page.focused == name:
                return
            page.key('Tab')
        raise AssertionError(f'{name} is not reached')

    # Schedules
    tab_to('eventName')
    page.type('By hand')
    tab_to('timeZone')
    page.type('honolulu')
    page.sees('#zones [aria-selected=true]:has-text("Pacific/Honolulu")')
    page.key('Enter')
    page.key('Enter')
    page.sees('#done:has-text("Scheduled: By hand")')
    assert page.focused == 'eventName'

    # Cancels, undoes, and changes
    page.sees(row('By hand'))
    tab_to('Cancel By hand')
    page.key('Enter')
    assert page.focused == 'Undo: keep By hand'
    page.key('Enter')
    assert page.focused == 'Cancel By hand'
    page.key('Shift+Tab', 'Enter')
    assert page.focused == 'form-title'
    page.key('Tab')
    page.key('Control+a')
    page.type('By keys')
    page.key('Enter')
    page.sees(row('By keys'))

    # Looks through the tabs
    tab_to('tab-upcoming')
    page.key('ArrowRight')
    page.sees('#series')
    page.key('End')
    page.sees('#history')
    page.key('ArrowRight')
    page.sees('#upcoming')
    assert page.focused == 'tab-upcoming'


@pytest.mark.parametrize(
    'look',
    [
        {'colorScheme': 'light'},
        {'colorScheme': 'dark'},
        {'forcedColors': 'active'},
        {'forcedColors': 'active', 'colorScheme': 'dark'},
    ],
)
def test_nothing_serious_is_found_by_axe(server: ClockedServer, visit: Visit, look: dict[str, str]) -> None:
    due = server.next_minute()
    schedule(server, 'Now', due)
    schedule(server, 'Later', due + 60 * MINUTE, repeat='FREQ=DAILY', channel='team/a')
    schedule(server, 'Cancelled', due + 60 * MINUTE)
    page = visit(server.url, **look, reducedMotion='reduce')
    page.click('role=button[name="Cancel Cancelled"]')
    page.click('#submit')
    page.sees('#eventName-error')
    page.click('#timeZone')
    page.sees('#zones')
    hasten(server, due)
    page.sees('#fired-list .live')
    found = page.judge()
    page.key('Escape')
    for tab in ('#tab-series', '#tab-history'):
        page.click(tab)
        page.sees(f'{tab.replace("tab-", "")} .row')
        found += page.judge()
    page.click('#settings-open')
    found += page.judge()
    page.key('Escape')
    server.kill()
    page.sees('#notice')
    found += page.judge()
    assert found == [], json.dumps(found, indent=1)


def test_a_token_is_asked_for_once(tmp_path: Path, visit: Visit) -> None:
    with ClockedServer(tmp_path, '2027-01-15 09:59:50', AUTH_SECRET=tokens.SECRET, **SETTINGS) as server:
        server.start()
        page = visit(server.url)
        page.sees('#token-dialog')
        assert page.judge() == []
        page.fill('#token', 'guessed')
        page.key('Enter')
        page.sees('#token-reason:has-text("token is not valid")')
        good = tokens.token(server.now(), aud=None, iss=None)
        page.fill('#token', good)
        page.key('Enter')
        page.sees('#connection[data-state=connected]')
        page.misses('#token-dialog')
        page.do('reload')
        page.sees('#connection[data-state=connected]')
        assert not page.do('isVisible', '#token-dialog')
        assert page.evaluate('Object.values(localStorage).some((one) => one.includes("eyJ"))') is False
        visit(server.url).sees('#token-dialog')

        # Who wants to be somebody else says so in the settings.
        page.click('#settings-open')
        assert page.judge() == []
        page.click('#token-forget')
        page.sees('#token-dialog')
        assert page.text('#token-reason') == ''
        page.fill('#token', good)
        page.key('Enter')
        page.sees('#connection[data-state=connected]')


def test_what_cannot_be_a_channel_is_not_kept(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url)
    page.click('#settings-open')
    assert not page.do('isVisible', '#token-forget')
    page.fill('#channels', 'team/a, bad channel!x')
    page.key('Enter')
    page.sees('#channels-error:has-text("“channel!x” cannot be a channel")')
    assert page.focused == 'channels'
    assert page.judge() == []
    assert page.evaluate("localStorage.getItem('event-reminder.channels')") is None
    page.fill('#channels', 'team/a')
    page.misses('#channels-error')
    page.key('Enter')
    page.misses('#settings')
    assert page.evaluate("localStorage.getItem('event-reminder.channels')") == '["team/a"]'

    # Where the server takes them no more, the page says where they are.
    page.evaluate("localStorage.setItem('event-reminder.channels', JSON.stringify(['team a']))")
    page.do('reload')
    page.sees('#notice:has-text("The channels are in Settings.")')
    page.click('#settings-open')
    page.fill('#channels', '')
    page.key('Enter')
    page.sees('#connection[data-state=connected]')
    page.misses('#notice')


def test_channels_are_listened_to(server: ClockedServer, visit: Visit) -> None:
    page = visit(server.url)
    page.click('#settings-open')
    page.fill('#channels', 'team/a, team/b')
    page.key('Enter')
    page.sees('#connection[data-state=connected]')
    due = server.next_minute()
    for channel in ('team/a', 'team/c'):
        schedule(server, f'For {channel}', due, channel=channel)
    hasten(server, due)
    page.sees('#fired-list .row:has-text("For team/a")')
    assert page.texts('#fired-list strong') == ['For team/a']
