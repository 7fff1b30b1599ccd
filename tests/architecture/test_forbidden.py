"""Each rule finds what was planted for it, and lets what is right pass."""

import pytest

from scripts import forbidden, page_rules
from scripts.code_rules import RULES

# rule, what breaks it, what does the same as it should be done
PLANTED = [
    ("pin-as-text", "def login(user_pin: str): ...", "def login(user_pin: PinBuffer): ..."),
    ("pin-as-text", "pin: str | None = None", "pin: Pin | None = None"),
    ("pin-as-text", "self.so_pin = raw.decode()", "self.so_pin = Pin(raw)"),
    ("pin-as-text", "def read_pin() -> str: ...", "def read_pin() -> Pin: ..."),
    ("unverified-tls", "Client(verify=False)", "Client(verify=trusting(root))"),
    ("unverified-tls", "context.check_hostname = False", "context.check_hostname = True"),
    ("unverified-tls", "context.verify_mode = ssl.CERT_NONE", "mode = ssl.CERT_REQUIRED"),
    ("objects-from-bytes", "import pickle", "import json"),
    ("objects-from-bytes", "from marshal import loads", "from json import loads"),
    ("shell", "subprocess.run(command, shell=True)", "subprocess.run([command, name])"),
    ("shell", "os.system(command)", "os.stat(path)"),
    ("shell", "asyncio.create_subprocess_shell(line)", "asyncio.create_subprocess_exec(*line)"),
    ("text-as-code", "eval(text)", "json.loads(text)"),
    ("text-as-code", "exec(text)", "re.compile('a')"),
    ("told-secret", "log.info('signed in with %s', password)", "log.info('%s signed in', login)"),
    ("told-secret", "log.debug(f'{self.user_pin}')", "log.debug(f'{token.serial}')"),
    ("told-secret", "print(str(session_token))", "print(digest(session_token))"),
    (
        "told-secret",
        "raise Refused(f'not {passphrase}')",
        "raise Refused(f'not {len(passphrase)}')",
    ),
    ("random", "import random", "import secrets"),
    ("random", "from random import choice", "from random import SystemRandom"),
    ("compared-secret", "given_mac == mac", "hmac.compare_digest(given_mac, mac)"),
    ("compared-secret", "kept.password != password", "kept.password == ''"),
    ("composed-sql", "session.execute(text(f'SELECT {a}'))", "session.execute(text('SELECT 1'))"),
    ("composed-sql", "connection.exec_driver_sql('SELECT ' + a)", "contents.text(f'{a}.json')"),
    ("pattern-from-data", "re.search(wanted, page)", "re.search('a+', page)"),
    ("pattern-from-data", "re.match(f'{key}=', line)", "re.match(f'{re.escape(key)}=', line)"),
    ("markup-from-data", "Markup(name)", "Markup('<b>{}</b>').format(name)"),
    ("weak-hash", "hashlib.md5(data)", "hashlib.sha256(data)"),
    ("weak-hash", "signed(hashes.SHA1())", "signed(hashes.SHA256())"),
    ("weak-hash", "TOTP(secret, 6, SHA1(), 30)", "TOTP(secret, 6, SHA256(), 30)"),
    ("weak-cipher", "Cipher(AES(key), modes.CBC(iv))", "AESGCM(key).encrypt(nonce, data, None)"),
    ("redirects", "Client(follow_redirects=True)", "Client(follow_redirects=False)"),
    ("xml", "from lxml import etree", "import json"),
    ("listening", "asyncio.start_server(answer)", "asyncio.open_connection(host, port)"),
]
PLANTED_IN_PAGES = [
    ("unescaped", "{{ name | safe }}", "{{ name }}"),
    ("inline-script", '<a href="#" onclick="go()">', "{% if one == name %}"),
    ("inline-script", "<script>go()</script>", '<script src="/static/own/cardflow.js"></script>'),
    ("foreign-file", '<script src="https://cdn.example/x.js">', '<a href="https://example.org">'),
    ("text-as-markup", "box.innerHTML = told", "box.textContent = told"),
    ("text-as-code", "new Function(told)", "JSON.parse(told)"),
    ("kept-in-browser", "localStorage.setItem('card', card)", "const card = form.card.value"),
    ("other-windows", "parent.postMessage(told)", "form.submit()"),
    ("prototype", "for (const key in told) kept[key] = told[key]", "for (const one of told) {}"),
]


@pytest.mark.parametrize(("rule", "bad", "good"), PLANTED)
def test_what_is_planted_in_code_is_found_and_nothing_else(rule: str, bad: str, good: str) -> None:
    assert rule in {finding.rule for finding in forbidden.in_code("agent/x.py", bad)}
    assert forbidden.in_code("agent/x.py", good) == []


@pytest.mark.parametrize(("rule", "bad", "good"), PLANTED_IN_PAGES)
def test_what_is_planted_in_a_page_is_found_and_nothing_else(
    rule: str, bad: str, good: str
) -> None:
    name = (
        "x.js" if rule in {r.name for r in page_rules.RULES if r.endings == (".js",)} else "x.html"
    )

    assert {finding.rule for finding in forbidden.in_page(name, bad)} == {rule}
    assert forbidden.in_page(name, good) == []


def test_every_rule_has_something_planted_for_it() -> None:
    assert {rule.name for rule in RULES} == {rule for rule, _, _ in PLANTED}
    assert {rule.name for rule in page_rules.RULES} == {rule for rule, _, _ in PLANTED_IN_PAGES}


def test_an_allowance_counts_where_it_stands_and_only_while_it_is_needed() -> None:
    allowed = "import random  # allowed: random: handwriting, not a secret\n"

    assert forbidden.in_code("cli/x.py", allowed) == []
    assert forbidden.in_code("cli/x.py", allowed + "import random\n")[0].line == 2
    assert (
        "take it away"
        in forbidden.in_code("cli/x.py", allowed.replace("random ", "json "))[0].because
    )


def test_an_allowance_needs_a_reason() -> None:
    assert len(forbidden.in_code("cli/x.py", "import random  # allowed: random:")) == 1


def test_listening_is_forbidden_to_the_agent_alone() -> None:
    assert forbidden.in_code("api/x.py", "socket.create_server(address)") == []
    assert len(forbidden.in_code("agent/x.py", "socket.create_server(address)")) == 1
