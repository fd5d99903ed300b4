// A page's widgets, drawn by their kernel's own words: the few kinds that our pages are made of, over Jupyter's socket.
// JupyterLab's four megabytes do the same for every kind there is; a page that has another kind is left to them.
const PROTOCOL = "v1.kernel.websocket.jupyter.org";
const session = crypto.randomUUID?.() ?? String(Math.random());
const kernel = JSON.parse(document.getElementById("jupyter-config-data").textContent).kernelId;
const models = new Map(); // by id: { state, el, draw }
const utf8 = new TextEncoder();

// --- messages: a count, so many offsets of 8 bytes, then channel, header, parent, metadata, content --------------
function packed(type, content, metadata = {}) {
  const header = { msg_id: crypto.randomUUID?.() ?? `${session}-${performance.now()}`, msg_type: type, session, username: "", version: "5.3", date: new Date().toISOString() };
  const parts = ["shell", ...[header, {}, metadata, content].map((part) => JSON.stringify(part))].map((p) => utf8.encode(p));
  const count = parts.length + 1;
  const offsets = parts.reduce((ends, part) => [...ends, ends.at(-1) + part.length], [8 * (count + 1)]);
  const frame = new Uint8Array(offsets.at(-1));
  const view = new DataView(frame.buffer);
  [count, ...offsets].forEach((number, n) => view.setBigUint64(8 * n, BigInt(number), true));
  parts.forEach((part, n) => frame.set(part, offsets[n]));
  return frame;
}
function unpacked(buffer) {
  const view = new DataView(buffer);
  const offsets = Array.from({ length: Number(view.getBigUint64(0, true)) }, (_, n) => Number(view.getBigUint64(8 * (n + 1), true)));
  const read = (n) => JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, offsets[n], offsets[n + 1] - offsets[n])));
  return { type: read(1).msg_type, content: read(4) };
}

// --- kinds -------------------------------------------------------------------------------------------------------
const made = (tag, cls = "") => Object.assign(document.createElement(tag), { className: cls });
const child = (reference) => models.get(reference.replace("IPY_MODEL_", ""));
const box = (cls) => () => {
  const el = made("div", `jupyter-widgets widget-container widget-box ${cls}`);
  return [el, (state, changed) => "children" in changed && el.replaceChildren(...state.children.map((c) => element(child(c))))];
};
const KINDS = {
  BoxModel: box(""),
  VBoxModel: box("widget-vbox"),
  HBoxModel: box("widget-hbox"),
  OutputModel: () => [made("div"), () => {}],
  HTMLModel: () => {
    const el = made("div", "jupyter-widgets widget-html");
    const inside = el.appendChild(made("div", "widget-html-content"));
    return [el, (state, changed) => { if ("value" in changed) inside.innerHTML = state.value; }];
  },
  ButtonModel: (id) => {
    const el = made("button", "jupyter-widgets jupyter-button widget-button");
    el.type = "button";
    el.addEventListener("click", () => send("comm_msg", { comm_id: id, data: { method: "custom", content: { event: "click" } } }));
    return [el, (state) => { el.textContent = state.description; el.disabled = state.disabled; }];
  },
  DropdownModel: (id) => {
    const el = made("div", "jupyter-widgets widget-inline-hbox widget-dropdown");
    const label = el.appendChild(made("label", "widget-label"));
    const select = el.appendChild(made("select"));
    label.htmlFor = select.id = `choose-${id}`;
    select.addEventListener("change", () => {
      models.get(id).state.index = select.selectedIndex;
      send("comm_msg", { comm_id: id, data: { method: "update", state: { index: select.selectedIndex }, buffer_paths: [] } });
    });
    return [el, (state, changed) => {
      label.textContent = state.description;
      select.disabled = state.disabled;
      if ("_options_labels" in changed) select.replaceChildren(...state._options_labels.map((text) => new Option(text)));
      select.selectedIndex = state.index ?? -1;
    }];
  },
};
const SILENT = /^(Layout|.*Style)Model$/; // how a widget looks is the style sheet's

function element(model) {
  if (!model.el) {
    [model.el, model.draw] = KINDS[model.state._model_name](model.id);
    model.own = model.el.className;
    redraw(model, model.state);
  }
  return model.el;
}
function redraw(model, changed) {
  model.draw(model.state, changed);
  model.el.className = [model.own, ...(model.state._dom_classes ?? [])].join(" ").trim();
}
function changed(id, state) {
  const model = models.get(id);
  if (!model) return;
  Object.assign(model.state, state);
  if (model.el) redraw(model, state);
}

// --- the socket --------------------------------------------------------------------------------------------------
let socket, control, waiting;
const send = (type, content, metadata) => socket.readyState === WebSocket.OPEN && socket.send(packed(type, content, metadata));
function heard({ type, content }) {
  const data = content.data ?? {};
  if (type === "comm_open" && content.target_name === "jupyter.widget") models.set(content.comm_id, { id: content.comm_id, state: data.state });
  else if (type === "comm_close") models.delete(content.comm_id);
  else if (type === "comm_msg" && content.comm_id === control && data.method === "update_states") arrived(data);
  else if (type === "comm_msg" && data.method === "update") changed(content.comm_id, data.state);
  else if (type === "status") document.body.toggleAttribute("aria-busy", content.execution_state === "busy" && waiting === undefined);
}
function arrived({ states, buffer_paths: buffers }) {
  const known = ({ model_name: name }) => name in KINDS || SILENT.test(name);
  if (buffers?.length || !Object.values(states).every(known)) return instead();
  for (const [id, { model_name: name, state }] of Object.entries(states)) {
    if (models.has(id)) changed(id, state);
    else models.set(id, { id, state: { _model_name: name, ...state } });
  }
  waiting?.();
  waiting = undefined;
}
function open() {
  const address = new URL(`/api/kernels/${kernel}/channels?session_id=${session}`, location.href.replace(/^http/, "ws"));
  socket = new WebSocket(address, [PROTOCOL]);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => heard(unpacked(data));
  socket.onopen = () => {
    control = crypto.randomUUID?.() ?? `${session}-control`;
    send("comm_open", { comm_id: control, target_name: "jupyter.widget.control", data: {} }, { version: "1.0.0" });
    send("comm_msg", { comm_id: control, data: { method: "request_states" } });
  };
  socket.onclose = () => setTimeout(() => !document.hidden && again(), 1500);
}
// A lost socket is opened anew; a lost kernel is another page at the same address, which `revive` asks for.
const again = () => fetch(`/api/kernels/${kernel}`).then((said) => said.ok && open(), () => {});
document.addEventListener("visibilitychange", () => !document.hidden && socket?.readyState === WebSocket.CLOSED && again());

// --- the page ----------------------------------------------------------------------------------------------------
const VIEW = "application/vnd.jupyter.widget-view+json";
const outputs = [...document.querySelectorAll('script[type="application/vnd.voila.cell-output+json"]')];
const views = outputs.map((script) => JSON.parse(script.textContent).data?.[VIEW]?.model_id);

/** Leave the page to JupyterLab's scripts. */
function instead() {
  socket.onclose = socket.onmessage = null;
  socket.close();
  document.body.classList.remove("plain");
  const listen = window.addEventListener; // they begin with the page's load, which may be over by now
  window.addEventListener = (type, begin, ...rest) =>
    type === "load" && document.readyState === "complete" ? setTimeout(begin) : listen.call(window, type, begin, ...rest);
  const parts = [...document.getElementById("lab").content.children];
  const next = (part) => {
    if (!part) return;
    const copy = document.createElement(part.tagName);
    [...part.attributes].forEach(({ name, value }) => copy.setAttribute(name, value));
    copy.textContent = part.textContent;
    if (copy.src) copy.onload = () => next(parts.shift());
    document.head.append(copy);
    if (!copy.src) next(parts.shift());
  };
  next(parts.shift());
}
function show() {
  views.forEach((id, n) => models.has(id) && outputs[n].replaceWith(element(models.get(id))));
  document.getElementById("loading")?.remove();
  document.getElementById("rendered_cells").style.display = "";
}
waiting = show;
open();
if (!views.every(Boolean)) instead();
