"""Labels that name a service or a line, not its owner: anyone may have a host with such a name."""

from __future__ import annotations

_TEXT = b"""
adsl alert alerts antispam app apps bounce bounces cable client clients cloud cluster cust
customer customers dev dial dialup dns dsl dyn dynamic edge email emails esmtp exchange exim
filter firewall ftp fw gate gateway gw gws host host1 hosting hosts hub imap in inbound
incoming info ip ips ipv4 ipv6 list lists local localhost mail mailer mailers mailfilter
mailgate mailgw mailhost mailhub mailin mailout mailrelay mails mailserver mailspam marketing
mta mtas mx mxout mxs nat net network news newsletter node noreply notification notifications
notify ns ns1 out outbound outgoing outmail pool pools pop pop3 post posta postfix ppp prod
proxy relay relayout relays reply return rev reverse scan send sender sending server servers
smtp smtpauth smtpout smtprelay smtps spam srv static svr test unknown user users virus vpn
vps vserver web webmail www
"""

HOST_LABELS = frozenset(_TEXT.split())
