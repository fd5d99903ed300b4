// What a page does once it is read: it looks again every so often, and acknowledges alerts for whoever may.
const find = (what) => document.querySelector(what);
const clock = () => `${new Date().toISOString().slice(0, 19).replace("T", " ")} UTC`;
const said = find("#toast");
const say = (text) => { if (said.textContent !== text) said.textContent = text; };
say(sessionStorage.getItem("said") ?? ""); // before it was loaded anew
sessionStorage.removeItem("said");
let away = ""; // since when nobody answers
let warned = "";
const warn = (text) => { if (text || warned) say(text); warned = text; }; // takes away what it said, and nothing else

// --- is there anything new? --------------------------------------------------------------------------------------
const anew = () => { location.reload(); return true; };
/** Ask the server whether what is shown still holds, or the page's own kernel to read again; true if it is loaded anew. */
async function look() {
  const made = document.body.dataset.made;
  const kernel = find("#jupyter-config-data") && JSON.parse(find("#jupyter-config-data").textContent).kernelId;
  const here = new URL(made ? location.href : `/api/kernels/${kernel}`, location.href);
  if (made) here.searchParams.set("fresh", made);
  let answer;
  try {
    answer = await fetch(here, { cache: "no-store" });
  } catch {
    away ||= clock();
    return warn(`The server cannot be reached since ${away}; what is shown was read before.`);
  }
  away = "";
  if (answer.redirected || [401, 403].includes(answer.status)) return warn("You are signed out; reload the page.");
  warn(answer.status === 503 ? "There is something newer, and all seats are taken; it is shown when one is free." : "");
  if (made && answer.status === 204) find(".looked").textContent = `; nothing has changed up to ${clock()}`;
  else if (answer.status === 205 || (!made && answer.status === 404)) return anew();
  else if (!made && answer.ok) find(".refresh")?.click();
}
const every = () => Number(find("[data-every]")?.dataset.every ?? 0) * 1000; // a page with a kernel says it when it is there
let last = Date.now();
setInterval(() => {
  if (document.hidden || !every() || Date.now() - last < every()) return;
  last = Date.now();
  look();
}, 500);

// --- alerts ------------------------------------------------------------------------------------------------------
// A kernel knows neither who looks nor what they may: the browser asks the server, with its visitor's own session.
let permitted;
const may = () => (permitted ??= fetch("/api/health").then((answer) => answer.json()).then(({ may }) => may ?? []).catch(() => []));
const cookie = () => document.cookie.match(/(?:^|; )_xsrf=([^;]*)/)?.[1] ?? "";
async function acknowledge(place, button) {
  button.disabled = true;
  let told;
  try {
    const headers = { "Content-Type": "application/json", "X-XSRFToken": cookie() };
    const answer = await fetch(`/api/alerts/${place.dataset.alert}/acknowledge`, { method: "POST", headers, body: "{}" });
    told = answer.ok ? "" : (await answer.json()).error.message;
  } catch {
    told = "The server cannot be reached.";
  }
  button.disabled = false;
  if (told) return say(`Not acknowledged: ${told}`);
  place.textContent = `Acknowledged ${clock()}.`;
  const done = place.textContent;
  if (await look()) return sessionStorage.setItem("said", done); // and the list is read anew
  say(done);
  said.focus({ preventScroll: true }); // the button that had it is gone
}
async function offer() {
  const places = [...document.querySelectorAll("[data-alert]:empty")].filter((p) => /^[0-9a-f]{12}$/.test(p.dataset.alert));
  const without = find("[data-without][hidden]");
  if (!places.length) return;
  const allowed = (await may()).includes("alerts:acknowledge");
  if (without && !allowed) without.hidden = false;
  for (const place of allowed ? places.filter((p) => !p.firstChild) : []) {
    const button = place.appendChild(Object.assign(document.createElement("button"), { type: "button", textContent: "I have seen it" }));
    button.setAttribute("aria-label", `I have seen it: ${place.closest("article").querySelector("b").textContent}`);
    button.addEventListener("click", () => acknowledge(place, button));
  }
}
new MutationObserver(offer).observe(document.body, { subtree: true, childList: true });
offer();
