// The page works without this. It fetches the page that is shown again, and puts what has changed into it, so that
// what has the focus, is unfolded or is selected stays so; and it searches while somebody types.
"use strict";

const live = document.getElementById("live");
const stale = document.getElementById("stale");
const query = document.getElementById("q");
let fetched = new Date();
let address = location.pathname + location.search;
let left = 0; // how often it is fetched again, -1: without end
let timer = 0;

// morph makes one element like another one, changing no more than what differs.
function morph(old, now) {
  if (old.nodeType !== now.nodeType || old.nodeName !== now.nodeName) {
    old.replaceWith(now.cloneNode(true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== now.nodeValue) old.nodeValue = now.nodeValue;
    return;
  }
  if (old.isEqualNode(now)) return;
  for (const { name } of [...old.attributes]) {
    if (!now.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of [...now.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  morphChildren(old, now);
}

// keyOf tells children apart whose places may change.
function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE && (node.dataset.key || node.id || node.getAttribute("aria-labelledby"));
}

// morphChildren pairs children by their keys where they have one, and else by their places.
function morphChildren(old, now) {
  const byKey = new Map();
  for (const child of old.children) {
    if (keyOf(child)) byKey.set(keyOf(child), child);
  }
  let at = old.firstChild;
  for (const wanted of [...now.childNodes]) {
    const key = keyOf(wanted);
    const known = key ? byKey.get(key) : undefined;
    if (known) {
      byKey.delete(key);
      if (known !== at) old.insertBefore(known, at);
      morph(known, wanted);
      at = known.nextSibling;
    } else if (!at || key || keyOf(at)) {
      old.insertBefore(wanted.cloneNode(true), at);
    } else {
      const next = at.nextSibling;
      morph(at, wanted);
      at = next;
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// show puts the content of an answer into the page.
function show(text) {
  const now = new DOMParser().parseFromString(text, "text/html").getElementById("part");
  const old = document.getElementById("part");
  if (!now || !old) throw new Error("an answer without content");
  const focused = document.activeElement;
  morph(old, now);
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true }); // it was moved
  const icon = document.getElementById("icon");
  document.title = now.dataset.title;
  if (icon.getAttribute("href") !== icon.dataset[now.dataset.state]) icon.href = icon.dataset[now.dataset.state];
}

async function get(from) {
  const url = new URL(from, location.origin);
  url.searchParams.set("part", "1");
  const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(15000) });
  const text = await answer.text();
  if (!text.includes('id="part"')) throw new Error(answer.status + " " + answer.statusText);
  return text;
}

// refresh fetches the page again. A page that cannot be fetched says since when it shows the past.
async function refresh() {
  const of = address;
  try {
    const text = await get(of);
    if (of !== address) return; // another search has begun
    show(text);
    fetched = new Date();
    stale.hidden = true;
  } catch (err) {
    stale.textContent = "This health role does not answer (" + err.message + "). What is shown is of " +
      fetched.toISOString().slice(0, 19).replace("T", " ") + " UTC.";
    stale.hidden = false;
  }
  again();
}

// again has the page fetched after its pause. Nobody looks at a page that is hidden.
function again() {
  clearTimeout(timer);
  const pause = Number(live.dataset.poll);
  if (!pause || left === 0 || document.hidden) return;
  timer = setTimeout(() => {
    if (left > 0) left--;
    refresh();
  }, pause);
}

function begin() {
  left = Number(live.dataset.polls) || -1;
  again();
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden || !Number(live.dataset.poll)) return;
  left = Number(live.dataset.polls) || -1;
  clearTimeout(timer);
  refresh();
});

// What is typed is searched for at once; the address says what is shown, so that it can be kept and sent.
let typing = 0;
query.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(async () => {
    const text = query.value.trim();
    if (!text) return;
    const to = "/zones?q=" + encodeURIComponent(text);
    address = to;
    try {
      const answer = await get(to);
      if (address !== to) return;
      live.dataset.poll = "0";
      show(answer);
      const path = location.pathname === "/zones" ? "replaceState" : "pushState";
      history[path](null, "", to);
    } catch {
      // The button searches, too, and the browser then says what is wrong.
    }
  }, 150);
});
addEventListener("popstate", () => location.reload());

// "/" goes to the search, as in many places. The arrows go through what was found.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typed = document.activeElement;
  if (event.key === "/" && typed !== query) {
    event.preventDefault();
    query.focus();
    query.select();
    return;
  }
  const hits = [...document.querySelectorAll(".hits a")];
  const at = hits.indexOf(typed);
  if (!hits.length || (at < 0 && typed !== query)) return;
  const to = event.key === "ArrowDown" ? at + 1 : event.key === "ArrowUp" ? at - 1 : NaN;
  if (Number.isNaN(to) || to >= hits.length) return;
  event.preventDefault();
  (to < 0 ? query : hits[to]).focus();
});

begin();
