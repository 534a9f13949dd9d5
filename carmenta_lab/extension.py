"""`%load_ext carmenta_lab`: `%sql` on the lab's database as the application role, with errors that raise."""

from typing import Any

from carmenta_lab.names import find_user
from carmenta_lab.postgres.lab import find_logins, open_migrated
from carmenta_lab.schema.base import APP


def load_ipython_extension(ipython: Any) -> None:
    """What `%load_ext carmenta_lab` calls: `%sql` asks the lab's database, and `%carmenta_user` says for whom.

    `%carmenta_user NAME [DATASET]` makes `%sql` act for one user; without a name, for nobody. Before a user is named,
    row-level security shows `%sql` no user's rows.

    >>> cl.load_ipython_extension(ipython)
    >>> _ = ipython.run_line_magic("carmenta_user", "nora sample")
    >>> len(ipython.run_line_magic("sql", "SELECT DISTINCT user_id FROM carmenta.messages"))
    1
    """
    logins = find_logins()
    database = open_migrated(logins)
    ipython.extension_manager.load_extension("sql")
    magic = ipython.magics_manager.registry["SqlMagic"]
    magic.short_errors = False  # raise instead of printing, so that a failing notebook fails
    magic.feedback = False
    magic.displaycon = False
    host = logins.app if not logins.app.pooled else logins.owner  # a session setting needs a connection of one's own
    url = host.url
    if url.username != APP:
        url = url.update_query_dict({"options": f"-c role={APP}"})
    ipython.run_line_magic("sql", url.render_as_string(hide_password=False))

    def carmenta_user(line: str) -> None:
        """`%carmenta_user NAME [DATASET]`: `%sql` sees the rows of this user from now on; without a name, of nobody."""
        words = line.split()
        user = str(find_user(database, *words[:2])) if words else ""
        # a bound value would have to be a variable of the notebook
        ipython.run_line_magic("sql", f"SET carmenta.user_id = '{user}'")

    ipython.register_magic_function(carmenta_user, "line", "carmenta_user")
