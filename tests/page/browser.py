"""Pages in headless Chromium, by Playwright in a Node.js process: `tests/page/driver.mjs`, which speaks JSON lines."""

import itertools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.clients import install
from tests.server import missing

FOLDER = Path(__file__).parent


class Browser:
    """The browser, with flags of Chromium's; its pages know nothing of each other."""

    def __init__(self, *flags: str) -> None:
        chromium = shutil.which('chromium') or missing('chromium')
        install(FOLDER)
        self._numbers = itertools.count()
        self._process = subprocess.Popen(
            ['node', 'driver.mjs', chromium, *flags],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def page(self, url: str, **options: Any) -> 'Page':
        """A page at `url`, in a context with Playwright's `options`."""
        name = next(self._numbers)
        self.ask(name, open={'url': url, **options})
        return Page(self, name)

    def ask(self, page: int, **request: Any) -> Any:
        """What a request is answered with. Fails where it fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({'page': page, **request}) + '\n')
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if 'error' in answer:
            raise AssertionError(answer['error'])
        return answer['result']

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Page:
    """One page. Selectors are Playwright's: CSS, `text=...`, `role=button[name="..."]`; what is awaited takes 25 s."""

    def __init__(self, browser: Browser, name: int) -> None:
        self._browser = browser
        self._name = name

    def do(self, method: str, *arguments: Any) -> Any:
        """Calls a method of Playwright's page, or of the driver."""
        return self._browser.ask(self._name, method=method, args=arguments)

    def click(self, selector: str) -> None:
        self.do('click', selector)

    def fill(self, selector: str, value: str) -> None:
        self.do('fill', selector, value)

    def key(self, *keys: str) -> None:
        """Presses keys, one after the other."""
        for key in keys:
            self.do('key', key)

    def type(self, text: str) -> None:
        self.do('type', text)

    def sees(self, selector: str) -> None:
        """Waits until it is visible."""
        self.do('waitForSelector', selector)

    def misses(self, selector: str) -> None:
        """Waits until it is not there, or hidden."""
        self.do('waitForSelector', selector, {'state': 'hidden'})

    def text(self, selector: str) -> str:
        return str(self.do('textContent', selector)).strip()

    def evaluate(self, script: str) -> Any:
        return self.do('evaluate', script)

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that match a CSS selector."""
        found: list[str] = self.evaluate(
            f'[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.textContent)'
        )
        return found

    @property
    def focused(self) -> str:
        """What the focused element is called."""
        names = "one.getAttribute('aria-label') || one.id || one.textContent.trim()"
        return str(self.evaluate(f'(() => {{ const one = document.activeElement; return {names} }})()'))

    def judge(self) -> list[dict[str, Any]]:
        """What axe-core finds that is serious or critical."""
        return [finding for finding in self.do('judge') if finding['impact'] in ('serious', 'critical')]

    def problems(self) -> list[str]:
        """Errors of the page's own, and what its policy of content kept it from."""
        found: list[str] = self.do('problems')
        return found

    def close(self) -> None:
        self.do('close')
