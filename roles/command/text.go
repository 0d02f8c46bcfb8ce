package command

// summary is what the program is for, in a line.
const summary = "zone distribution for PowerDNS over NATS"

const description = `Every write to the API of the primary PowerDNS is answered by all secondaries within milliseconds,
and stays so whatever fails in between. Beside the primary run proxy and primary, beside each
secondary runs secondary, and health runs anywhere; all meet at a NATS, for which broker is one
that needs nothing else.

Begin with a demo on loopback, and then write the files of your own installation:

   pdns-distribute demo
   pdns-distribute init --help

Settings come from a TOML file, from the environment and from flags. A flag beats the environment,
the environment beats the file. The key workers of the section [secondary] is

   PDNS_DISTRIBUTE_SECONDARY_WORKERS=8        in the environment
   --set secondary.workers=8                  as a flag

and unknown keys and bad values are refused at the start, all at once.`

const exitCodes = `Exit codes:

   0      ended cleanly, also when a signal asked for it
   1      failed while running; demo --once: something did not arrive; healthcheck: the role does not answer
   2      wrong usage or configuration
   3      status, sync, doctor: not everything is in order
   128+n  signal n ended it before its work was done, such as 130 for Ctrl-C; a second signal always does`
