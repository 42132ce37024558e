package main

// pushText is the template of the report.
const pushText = `# Pushes, beside NanoMDM's

Written by ` + "`go run . -pushes -markdown …`" + ` in [internal/bench](../internal/bench/README.md): {{.Machine.Date}}, {{.Machine.CPU}}, {{.Machine.Cores}} cores,
{{.Machine.OS}}, {{.Machine.Go}}, NanoMDM {{.Machine.NanoMDM}}, commit {{.Machine.Commit}}. Medians of {{.Rounds}} round{{if ne .Rounds 1}}s{{end}} in one run, around all sides; a
window of each takes about {{.Window}} s, as many pushes as that needs.

One fake APNs in a process of its own, HTTP/2 over TLS, takes the pushes of each side in turn; it and the side must agree that
every push was accepted. *Under way* is the limit of pushes at a time. What the sides are:

- **NanoMDM, callers**: its provider, called by as many goroutines as there may be pushes under way, each with one push at a time,
  which keeps it busiest.
- **NanoMDM, lists**: the provider as its own service calls it, with one list after the other, each as long as there may be pushes
  under way. It starts a goroutine for each push of a list, whatever its option for workers says, the default of 5 included.
- **applemdm, one call**: an apns.Client with that limit, which gets all pushes of a window in one call.
- **applemdm, lists**: the client as a Dispatcher calls it by default, with lists of 500, 4 at a time; so no more than 2,000 are
  under way, and no more than the limit.

## Pushes a second

± is half of the range of the rounds. × is to that of NanoMDM's two that has the better rate, in brackets the least and the
greatest of a round. The last two columns are what part our sides have of the pushes that the latency allows.

| latency | under way | NanoMDM, callers | ± | NanoMDM, lists | ± | applemdm, one call | ± | applemdm, lists | ± | ×, one call | ×, lists | one call | lists |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
{{range .Rows}}| {{latency .}} | {{.Concurrency}} |{{range .Sides}} {{num .Rate}} | {{.Spread}} |{{end}} {{.TimesRate "applemdm"}} | {{.TimesRate "applemdm-lists"}} | {{.Share "applemdm"}} | {{.Share "applemdm-lists"}} |
{{end}}
## CPU

Microseconds for a push, user and system time: of the process that pushes, and of the fake APNs while it takes the pushes of that
side. × is between the processes that push, to the same side of NanoMDM as above: that with the better rate, which is not
always the one that needs less. Less is better.

| latency | under way | NanoMDM, callers | APNs | NanoMDM, lists | APNs | applemdm, one call | APNs | applemdm, lists | APNs | ×, one call | ×, lists |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
{{range .Rows}}| {{latency .}} | {{.Concurrency}} |{{range .Sides}} {{us .CPU}} | {{us .APNsCPU}} |{{end}} {{.TimesCPU "applemdm"}} | {{.TimesCPU "applemdm-lists"}} |
{{end}}
## Connections

How many each side made for a row, warm-up included. The fake allows one stream on a connection before its first push was
answered, and 1,000 afterwards; net/http makes a connection for each request that finds none yet, whatever is allowed. Pushes on
many connections are written one by one, which is a part of what NanoMDM costs, and of what it costs the fake APNs. All are closed
before the next row.

| latency | under way | NanoMDM, callers | NanoMDM, lists | applemdm, one call | applemdm, lists |
|---|---:|---:|---:|---:|---:|
{{range .Rows}}| {{latency .}} | {{.Concurrency}} |{{range .Sides}} {{.Connections}} |{{end}}
{{end}}
## What differs between the sides

- NanoMDM's provider is a layer of some 100 lines on net/http, with the transport that it makes by itself. Most of its cost is that
  of net/http, which has goroutines, channels and buffers for each request. This library speaks HTTP/2 by itself
  ([design.md](design.md)).
- Of the headers that Apple documents, NanoMDM sends apns-expiration alone, beside content-type, content-length, accept-encoding
  and user-agent. This library sends apns-topic, apns-push-type, apns-priority, apns-expiration, apns-id and content-length.
  The fake APNs takes both, as Apple's does, and leaves out its reproach of what is missing.
- This library makes the apns-id of each push, and knows by it what it repeats. NanoMDM leaves it to APNs: so the fake makes one,
  which is a part of its CPU there.
- Both get their pushes from memory and give results back; nobody reads a database.
- The fake APNs has a share of the same machine. What it costs limits all sides without latency, and the fastest most: their
  ratios would be greater with an APNs elsewhere.
`
