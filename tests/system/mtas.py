"""The real MTAs, each on a private machine (chamber.py) with Roost beside it."""

import json
import re
import subprocess

from chamber import RECIPES, Chamber
from conftest import SAMPLE, clean_env

ALICE, BOB = "alice@example.org", "bob@example.org"  # Bob sends, and gets the bounces


def recipe(name):
    """The text of a recipe as it is shipped."""
    return (RECIPES / name).read_text()


SMTP = """
import json, smtplib, sys
request = json.load(sys.stdin)
with smtplib.SMTP("127.0.0.1") as client:
    refused = client.sendmail(request["sender"], request["recipients"], request["message"].replace("\\n", "\\r\\n"))
print(json.dumps({recipient: code for recipient, (code, _) in refused.items()}))
"""


class Mta(Chamber):
    """A machine with an MTA on it, which `prepare` sets up and starts."""

    software = ""

    def __init__(self, path, *configuration):
        super().__init__(path, self.software)
        try:
            self.prepare(*configuration)
            self.add(ALICE, BOB)
        except BaseException:
            self.close()
            raise

    def prepare(self, *configuration):
        raise NotImplementedError

    def bring(self, *recipients, sender=BOB, message=SAMPLE):
        """Brings a message by SMTP; returns the recipients that were refused with their codes. One at least is not."""
        request = json.dumps({"sender": sender, "recipients": recipients, "message": message.decode()})
        return json.loads(self.check("/usr/bin/python3", "-c", SMTP, stdin=request.encode()))


class Postfix(Mta):
    """Postfix, running. `main` and `master` come behind its own configuration."""

    software = "postfix"
    LOG = "/var/log/mail.log"
    MAIN = """
compatibility_level = 3.6
myhostname = mx.example.net
mydestination =
inet_interfaces = loopback-only
default_transport = error:nothing leaves this machine
maillog_file = /var/log/mail.log
disable_dns_lookups = yes
local_recipient_maps =
"""

    def prepare(self, main, master=""):
        self.check("groupadd", "--system", "postdrop")
        self.check("useradd", "--system", "--home-dir", "/var/spool/postfix", "postfix")
        # No chroot for what needs files to be prepared for it; lmtp(8) and smtpd(8) stay as Debian has them.
        stock = re.sub(r"^((?!lmtp)\w+ +unix +\S+ +\S+ +)y", r"\1n", self.read("/usr/share/postfix/master.cf.dist"),
                       flags=re.M)
        self.write("/etc/postfix/main.cf", self.MAIN + main)
        self.write("/etc/postfix/master.cf", stock + master)
        self.write("/etc/postfix/roost-users.cf", recipe("postfix/roost-users.cf"))
        self.write("/etc/postfix/dynamicmaps.cf", "sqlite postfix-sqlite.so dict_sqlite_open\n")
        self.write("/etc/aliases", "")
        self.check("newaliases")
        self.check("install", "-d", "-o", "postfix", "/var/lib/postfix")
        self.check("postfix", "start")

    def let_lmtp_out(self):
        """Out of its chroot, as the recipe says."""
        self.check(*re.search(r"(postconf -F lmtp\S+)", recipe("postfix/lmtp.cf"))[1].split())
        self.check("postfix", "reload")

    def send(self, *recipients, sender=BOB, message=SAMPLE):
        """Hands a message to Postfix; returns its queue id."""
        picked_up = r"postfix/pickup\[\d+\]: ([0-9A-F]+):"
        before = len(re.findall(picked_up, self.read(self.LOG)))
        self.check("sendmail", "-f", sender, *recipients, stdin=message)
        return self.wait_for(self.LOG, rf"(?s)(?:{picked_up}.*?){{{before}}}{picked_up}")[2]

    def verdict(self, queue_id, recipient, after=0):
        """What Postfix logged for a recipient: (enhanced status code, status, reason)."""
        pattern = rf"{queue_id}: to=<{re.escape(recipient)}>,.*? dsn=(\S+), status=(\w+) \((.*)\)"
        found = self.wait_for(self.LOG, rf"(?:{pattern}[\s\S]*?){{{after}}}{pattern}" if after else pattern)
        return found.groups()[-3:]

    def queued(self):
        """The recipients that wait in the queue."""
        return re.findall(r"^\s+(\S+@\S+)$", self.check("postqueue", "-p"), re.M)

    def flush(self):
        """Has what is queued tried again at once."""
        self.check("postqueue", "-f")


class Exim(Mta):
    """Exim, which delivers when it is called. `routers` and `transports` are those of a recipe."""

    software = "exim"
    LOG = "/var/log/exim4/mainlog"
    HEAD = """
primary_hostname = mx.example.net
exim_user = Debian-exim
exim_group = Debian-exim
log_file_path = /var/log/exim4/%slog
local_interfaces = 127.0.0.1
domainlist local_domains = example.org
host_lookup =
keep_environment =
tls_advertise_hosts =
untrusted_set_sender = *
"""
    REST = """
rest:
  driver = redirect
  data = :fail: nothing leaves this machine
  allow_fail
"""
    RETRY = """
begin retry
*  *  F,1h,1m
"""

    def prepare(self, routers, transports):
        self.check("useradd", "--system", "--home-dir", "/var/spool/exim4", "--user-group", "Debian-exim")
        for folder in ("/var/log/exim4", "/var/spool/exim4"):
            self.check("install", "-d", "-o", "Debian-exim", "-g", "Debian-exim", "-m", "750", folder)
        self.configure(routers, transports)

    def configure(self, routers, transports):
        self.write("/etc/exim4/exim4.conf", f"{self.HEAD}begin routers\n{routers}{self.REST}"
                                            f"begin transports\n{transports}{self.RETRY}")

    def send(self, *recipients, sender=BOB, message=SAMPLE):
        """Hands a message to Exim, which tries to deliver it at once; returns what it logged meanwhile."""
        before = len(self.read(self.LOG))
        self.check("exim4", "-odf", "-i", "-f", sender, *recipients, stdin=message)
        return self.read(self.LOG)[before:]

    def queued(self):
        """The recipients that wait in the queue."""
        return re.findall(r"^\s+(\S+@\S+)$", self.check("exim4", "-bp"), re.M)

    def flush(self):
        """Has what is queued tried again, and waits for that."""
        self.check("exim4", "-qff")


class OpenSmtpd(Mta):
    """OpenSMTPD, running. `configuration` is that of a recipe."""

    software = "opensmtpd"
    LOG = "/var/log/smtpd.log"

    def prepare(self, configuration):
        for user in ("opensmtpd", "opensmtpq"):
            self.check("useradd", "--system", "--user-group", "--home-dir", "/var/lib/opensmtpd/empty", user)
        self.check("install", "-d", "-m", "711", "/var/spool/smtpd")
        self.check("install", "-d", "-m", "755", "/var/lib/opensmtpd/empty", "/run/opensmtpd")
        self.check("chown", "root:opensmtpq", "/usr/sbin/smtpctl")
        self.check("chmod", "2755", "/usr/sbin/smtpctl")
        self.write("/etc/smtpd.conf", configuration)
        self.write("/etc/mailname", "mx.example.net\n")
        with self.path(self.LOG).open("w") as log:
            self.server = subprocess.Popen(self.inside("smtpd", "-d", "-v"), stdin=subprocess.DEVNULL, stdout=log,
                                           stderr=log, env=clean_env())
        self.wait_for(self.LOG, "smtpd ready|info: OpenSMTPD .* starting")

    server = None

    def close(self):
        super().close()
        if self.server:
            self.server.wait()

    def send(self, *recipients, sender=BOB, message=SAMPLE):
        """Hands a message to smtpd; returns how long the log was before."""
        before = len(self.read(self.LOG))
        self.check("sendmail", "-f", sender, *recipients, stdin=message)
        return before

    def verdict(self, before, recipient):
        """What smtpd logged for a recipient since then: (result, reason)."""
        found = self.wait_for(self.LOG, rf"(?s).{{{before}}}.*?m[dt]a delivery [^\n]*to=<{re.escape(recipient)}>[^\n]*"
                                        r'result="?(\w+)"? stat="?([^\n]*?)"?\n')
        return found.groups()

    def queued(self):
        """The recipients that wait in the queue."""
        return [line.split("|")[5] for line in self.check("smtpctl", "show", "queue").splitlines()]

    def flush(self):
        """Has what is queued tried again at once."""
        self.check("smtpctl", "schedule", "all")


class Fates:
    """Five recipients of one message, each with a fate of its own. `name` keeps them apart from others'."""

    def __init__(self, mta, name):
        self.mta = mta
        self.good, self.unknown, self.full, self.later, self.disabled = self.all = [
            f"{fate}-{name}@example.org" for fate in ("good", "unknown", "full", "later", "disabled")]
        mta.add(self.good)
        settings = "INSERT INTO users(name, settings) VALUES (?, ?)"
        mta.sql(settings, (self.full, '{"quota.storage": 1}'))
        mta.sql(settings, (self.later, '{"quota.storage": 1, "quota.when-full": "defer"}'))
        mta.sql("INSERT INTO users(name, enabled) VALUES (?, 0)", (self.disabled,))

    def make_room(self):
        """For the one whose mail waits until there is."""
        self.mta.sql("UPDATE users SET settings = '{}' WHERE name = ?", (self.later,))

    def arrived(self):
        """How many messages each recipient has."""
        return [len(self.mta.messages(user)) for user in self.all]
