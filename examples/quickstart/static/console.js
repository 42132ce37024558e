"use strict";
const $ = (id) => document.getElementById(id);
// The token may come in the address, after the #, which browsers never send; it is kept for this tab only.
let token = location.hash.startsWith("#token=") ? decodeURIComponent(location.hash.slice(7)) : sessionStorage.getItem("token");
if (location.hash) history.replaceState(null, "", location.pathname);
let devices = [];
let selected = null;
let stream = null;

async function call(method, path, body) {
  const res = await fetch(path, {
    method,
    headers: { Authorization: "Bearer " + token, ...(body ? { "Content-Type": "application/json" } : {}) },
    body: body ? JSON.stringify(body) : undefined,
  });
  if (res.status === 401) { signOut("That token is not the right one."); throw new Error("signed out"); }
  if (!res.ok) throw new Error((await res.text()).trim());
  return res.json();
}

function signOut(message) {
  sessionStorage.removeItem("token");
  if (stream) stream.abort();
  stream = null;
  $("console").hidden = true;
  $("login").hidden = false;
  $("loginError").hidden = !message;
  $("loginError").textContent = message || "";
}

async function start() {
  if (!token) return signOut();
  try { await loadDevices(); await loadApple(); } catch { return; }
  sessionStorage.setItem("token", token);
  $("login").hidden = true;
  $("console").hidden = false;
  follow();
}

function element(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes || {})) {
    if (k === "onclick") e.addEventListener("click", v); else if (v !== undefined) e.setAttribute(k, v);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

// standing is the one word that matters: whether it is managed, and if so, whether it is still there.
function standing(d) {
  return d.state === "enrolled" && d.presence !== "active" ? d.presence : d.state;
}

async function loadDevices() {
  devices = await call("GET", "/api/devices");
  $("count").textContent = devices.length ? `(${devices.length})` : "";
  $("none").hidden = devices.length > 0;
  $("devices").replaceChildren(...devices.map((d) => element("li", {},
    element("button", { class: "device", type: "button", "aria-current": String(d.id === selected), onclick: () => select(d.id) },
      element("strong", {}, d.name || d.id, element("span", { class: "badge " + standing(d) }, standing(d))),
      element("span", { class: "small soft" }, [d.product, d.os, d.channel === "device" ? d.serial : d.channel].filter(Boolean).join(" · "))))));
  if (!selected && devices.length) await select(devices[0].id);
  else if (selected) showDetail();
}

// held says in words how firmly a device from Apple holds its management.
function held(d) {
  if (d.removable === "unknown") return d.note;
  const words = (d.supervised === "yes" ? "supervised, " : "") + (d.removable === "no" ? "cannot be removed" : "can be removed");
  return words + (d.confirmed ? ", as the device says" : ", as its profile says");
}

// loadApple shows the devices that Apple says are ours, if there is a server of ours at Apple.
async function loadApple() {
  if (!$("apple")) return;
  const apple = await call("GET", "/api/apple");
  $("appleCount").textContent = apple.devices.length ? `(${apple.devices.length})` : "";
  $("appleToken").textContent = "The token is good until " + new Date(apple.tokenEnds).toLocaleDateString() + ".";
  $("appleStopped").hidden = !apple.stopped;
  $("appleStopped").textContent = apple.stopped || "";
  $("apple").replaceChildren(...apple.devices.map((d) => element("li", {},
    element("button", { class: "device", type: "button", disabled: d.state ? undefined : "", onclick: () => select(d.id) },
      element("strong", {}, d.serial, element("span", { class: "badge " + d.profile }, "profile " + d.profile)),
      element("span", { class: "small soft" }, [d.model, d.state || "not enrolled yet"].filter(Boolean).join(" · ")),
      element("span", { class: "small soft held" }, held(d))))));
}

async function select(id) {
  selected = id;
  for (const b of $("devices").querySelectorAll("button")) b.setAttribute("aria-current", "false");
  const i = devices.findIndex((d) => d.id === id);
  if (i >= 0) $("devices").querySelectorAll("button")[i].setAttribute("aria-current", "true");
  showDetail();
  await loadCommands();
  await loadRuns();
}

function showDetail() {
  const d = devices.find((x) => x.id === selected);
  for (const id of ["detail", "sending", "queue", "running"]) $(id).hidden = !d;
  if (!d) return;
  $("name").textContent = d.name || d.id;
  const facts = [d.id, "enrollment " + d.generation, d.state];
  if (d.lastSeen) facts.push("last seen " + new Date(d.lastSeen).toLocaleTimeString());
  if (d.state === "enrolled") facts.push(d.presence);
  if (d.push) facts.push(d.push);
  if (d.awaitingConfiguration) facts.push("waits in Setup Assistant");
  $("facts").textContent = facts.join(" · ");
  const managed = d.state === "enrolled";
  $("sendButton").disabled = $("wake").disabled = $("gate").disabled = $("clear").disabled = !managed;
  $("end").disabled = d.state === "ended";
}

const open = new Set(["queued", "sent", "deferred"]);

async function loadCommands() {
  const id = selected;
  if (!id) return;
  const list = await call("GET", "/api/commands?device=" + encodeURIComponent(id));
  if (id !== selected) return;
  $("noCommands").hidden = list.length > 0;
  $("commands").replaceChildren(...list.reverse().map((c) => element("li", { class: "command" },
    element("div", { class: "top" },
      element("strong", {}, c.requestType),
      c.deferrals ? element("span", { class: "small soft" }, `NotNow ×${c.deferrals}`) : null,
      element("span", { class: "small soft" }, new Date(c.queued).toLocaleTimeString()),
      element("span", { class: "badge " + c.state }, c.state),
      open.has(c.state) ? element("button", { class: "quiet", type: "button", onclick: () => act("/api/cancel", { Device: id, UUID: c.uuid }) }, "Cancel") : null),
    c.note ? element("div", { class: "small soft" }, c.note) : null,
    c.error ? element("div", { class: "small error" }, c.error) : null,
    c.result && Object.keys(c.result).length ? element("pre", {}, JSON.stringify(c.result, null, 2)) : null)));
}

// loadRuns shows the workflows of the device, and the audit log if there is something in it.
async function loadRuns() {
  const id = selected;
  if (!id) return;
  const runs = await call("GET", "/api/runs?device=" + encodeURIComponent(id));
  if (id !== selected) return;
  $("noRuns").hidden = runs.length > 0;
  $("runs").replaceChildren(...runs.sort((a, b) => b.moved.localeCompare(a.moved)).map((r) => element("li", { class: "command" },
    element("div", { class: "top" },
      element("strong", {}, r.workflow),
      element("span", { class: "small soft" }, r.step),
      element("span", { class: "badge " + r.status }, r.status)),
    r.note ? element("div", { class: "small soft" }, r.note) : null)));
  const entries = await call("GET", "/api/audit");
  $("audit").hidden = entries.length === 0;
  $("entries").replaceChildren(...entries.map((e) => element("li", {},
    element("span", { class: "soft" }, new Date(e.at).toLocaleTimeString()),
    element("span", {}, element("strong", {}, e.actor), ` ${e.action} · ${e.reason} · ${e.device}`))));
}

async function act(path, body) {
  try { await call("POST", path, body); } catch (e) { alert(e.message); }
  await refresh();
}

$("wake").addEventListener("click", () => act("/api/wake", { Device: selected }));
$("gate").addEventListener("click", () => act("/api/gate", { Device: selected }));
$("clear").addEventListener("click", () => {
  const reason = prompt("Why is the passcode cleared? This goes into the audit log.");
  if (reason === null) return;
  act("/api/clearpasscode", { Device: selected, Reason: reason, Possession: confirm("Have you made sure that the device is in its owner's hands?") });
});
$("end").addEventListener("click", () => {
  if (confirm("End the management of this device? It will be told to remove its profile.")) act("/api/end", { Device: selected });
});
$("kind").addEventListener("change", () => { $("rawBox").hidden = $("kind").value !== "raw"; });
$("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("sendError").hidden = true;
  const kind = $("kind").value;
  try {
    const sent = await call("POST", "/api/commands", { Device: selected, Command: kind === "raw" ? $("raw").value : kind });
    $("sendError").textContent = sent.warnings.length ? "Queued, but: " + sent.warnings.slice(0, 5).join("; ") : "";
    $("sendError").hidden = !sent.warnings.length;
  } catch (e) {
    $("sendError").textContent = e.message;
    $("sendError").hidden = false;
  }
  await refresh();
});
$("login").addEventListener("submit", (event) => { event.preventDefault(); token = $("token").value; start(); });

let refreshing = null;
function refresh() { // many events at once are one look
  refreshing ??= new Promise((done) => setTimeout(done, 120)).then(async () => {
    refreshing = null;
    try { await loadDevices(); await loadApple(); await loadCommands(); await loadRuns(); } catch { /* shown elsewhere */ }
  });
  return refreshing;
}

// follow reads the live events; fetch and not EventSource, because the token goes in a header.
async function follow() {
  if (stream) return;
  stream = new AbortController();
  const own = stream;
  while (!own.signal.aborted) {
    try {
      const res = await fetch("/api/events", { headers: { Authorization: "Bearer " + token }, signal: own.signal });
      const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
      $("events").replaceChildren();
      for (let rest = ""; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) showEvent(JSON.parse(block.slice(block.indexOf("data: ") + 6)));
        if (blocks.length) refresh();
      }
    } catch { /* the server restarts, or we signed out */ }
    await new Promise((done) => setTimeout(done, 1000));
  }
}

function showEvent(e) {
  const d = devices.find((x) => x.id === e.enrollment);
  const what = [e.type, e.requestType, e.reason].filter(Boolean).join(" · ");
  $("events").prepend(element("li", {}, element("span", { class: "soft" }, new Date(e.at).toLocaleTimeString()),
    element("span", {}, element("strong", {}, (d && d.name) || e.enrollment || e.name), " " + what)));
  while ($("events").children.length > 100) $("events").lastChild.remove();
}

start();
