"""A stand-in for Vast.ai on loopback, its rented boxes and the coordinator their workers serve.

It is written from Vast's published OpenAPI and from answers users have seen, not from Magister's own
client, so that the two cannot be wrong together. Workers really run the onstart they are given and really
call back.

Not modelled: interruptible bidding (a bid is taken and never outbid), volumes, virtual machines, SSH and
exec, Jupyter, serverless, teams, scoped keys, webhooks, audit logs, invoices of payments, prepayment, SLA
prices, price increases a host asks of a running box, competition by other customers, repeated keys inside one
JSON object, the bulk calls, reboot and recycle, a queued start that comes true later, prices of traffic that
differ from host to host, and what Vast does with a path that lacks its trailing slash (both forms are
answered alike). Time stands still while the simulator is down. A worker answers to its coordinator in
process: no WebSocket is spoken, and the process that stands for it in its box does nothing but live, so what
a box downloads and uploads is drawn.
"""
