"""The demo's people, each signed in with a session of their own."""

from dataclasses import dataclass, field

from cardflow.model import Role
from cli.client import Api
from cli.demo_state import DemoState
from cli.sign_in import start_session

ADMIN, HOLDER, OPERATOR = "ada", "hanna", "olga"
OFFICERS = ("otto", "oriana")
AUDITOR = "arthur"
PEOPLE = """\
login,name,given_name,surname,email,upn,sid,organization,roles
hanna,Hanna Berg,Hanna,Berg,hanna.berg@example.org,hanna.berg@corp.example.org,\
S-1-5-21-1004336348-1177238915-682003330-1117,Example Insurance,holder
olga,Olga Lind,Olga,Lind,olga.lind@example.org,,,Example Insurance,operator
otto,Otto Falk,Otto,Falk,otto.falk@example.org,,,Example Insurance,officer
oriana,Oriana Reyes,Oriana,Reyes,oriana.reyes@example.org,,,Example Insurance,officer
arthur,Arthur Wells,Arthur,Wells,arthur.wells@example.org,,,Example Insurance,auditor
"""


@dataclass
class Cast:
    """Who takes part; people sign in when they are first needed."""

    state: DemoState
    _signed_in: dict[str, Api] = field(default_factory=dict)

    def api(self, login: str) -> Api:
        """Return the API as this person sees it."""
        if login not in self._signed_in:
            url = self.state.settings.public_url
            session = start_session(url, login, self.state.password(login))
            self._signed_in[login] = Api(url, session.token)
        return self._signed_in[login]

    def register(self) -> int:
        """Everybody is registered and has a password; return how many there are."""
        admin = self.api(ADMIN)
        answer = admin.post_text("/people/import", PEOPLE, "text/csv")
        for person in admin.items("/people"):
            if Role.ADMIN not in person["roles"]:
                password = {"password": self.state.password(person["login"]), "temporary": False}
                admin.post(f"/people/{person['id']}/password", password)
        return int(answer["created"])

    def person(self, login: str) -> dict[str, str]:
        """Return the person's record."""
        found: dict[str, str] = self.api(login).get("/me")
        return found

    def close(self) -> None:
        """No connection is open any more; sessions stay."""
        for api in self._signed_in.values():
            api.close()
        self._signed_in.clear()
