#!/bin/sh
# The service's own command line, for root: /usr/local/bin/touchtrail. Every command runs as the service's user on the
# service's database, so that no file ever belongs to root. Names without a folder are in /var/lib/touchtrail.
cd /var/lib/touchtrail || exit 1
exec runuser -u touchtrail -- env TOUCHTRAIL_DB=/var/lib/touchtrail/touchtrail.db /opt/touchtrail/bin/touchtrail "$@"
