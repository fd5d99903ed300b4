// The chat: one message per question, pieces of an answer as they come. Text of people is only ever set as text.
function bubble(message) {
  const made = document.createElement("div");
  made.className = `chat-said chat-${message.role === "user" ? "user" : "bot"}`;
  if (message.html) made.innerHTML = message.html; // escaped where it was made
  else made.textContent = message.text;
  return made;
}

function render({ model, el }) {
  el.classList.add("chat");
  el.innerHTML = `<div class="chat-log" role="log" aria-live="polite" aria-label="Conversation" tabindex="0"></div>
    <div class="chat-chips" role="group" aria-label="Suggestions"></div>
    <form class="chat-form"><textarea rows="1" maxlength="2000" aria-label="Your question" enterkeyhint="send"
    placeholder="Ask about a model, a ticker or a term"></textarea><button type="submit">Send</button>
    <button type="button" class="chat-forget">Forget</button></form>`;
  const [log, chips, form] = [".chat-log", ".chat-chips", ".chat-form"].map((s) => el.querySelector(s));
  const [box, send, forget] = ["textarea", "button[type=submit]", ".chat-forget"].map((s) => form.querySelector(s));

  const ask = (text) => {
    if (!text.trim() || model.get("busy")) return;
    model.send({ type: "ask", text: text.trim() });
    box.value = "";
    grow();
  };
  const grow = () => {
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight + 2, 160)}px`;
  };
  const draw = () => {
    log.replaceChildren(...model.get("messages").map(bubble));
    log.hidden = !log.children.length;
    const last = log.lastElementChild;
    const before = last?.previousElementSibling;
    if (before) log.scrollTop = before.offsetTop - log.offsetTop;
    chip();
  };
  const chip = () => {
    const waits = model.get("messages").at(-1)?.waits;
    const offered = waits ? ["Yes"] : model.get("suggestions");
    chips.replaceChildren(...offered.map((text) => {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = text;
      made.addEventListener("click", () => ask(text));
      return made;
    }));
  };
  const piece = (message) => {
    if (message.type === "piece" && log.lastElementChild) log.lastElementChild.textContent += message.text;
  };
  const busy = () => {
    send.disabled = model.get("busy");
    log.setAttribute("aria-busy", String(model.get("busy")));
    log.classList.toggle("chat-busy", model.get("busy"));
  };
  // A figure opens the fold in which its origin stands.
  log.addEventListener("click", (event) => {
    const link = event.target.closest("a.claim");
    if (!link) return;
    event.preventDefault();
    const said = link.closest(".chat-said");
    const row = said.querySelector(`[id="${CSS.escape(link.hash.slice(1))}"]`);
    if (!row) return;
    row.closest("details").open = true;
    said.querySelectorAll(".chat-shown").forEach((r) => r.classList.remove("chat-shown"));
    row.classList.add("chat-shown");
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(box.value);
  });
  forget.addEventListener("click", () => model.send({ type: "forget" }));
  box.addEventListener("input", grow);
  box.addEventListener("keydown", (event) => {
    event.stopPropagation(); // Lab has shortcuts of its own
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  const watched = [["change:messages", draw], ["change:suggestions", chip], ["change:busy", busy], ["msg:custom", piece]];
  watched.forEach(([what, then]) => model.on(what, then));
  draw();
  busy();
  return () => watched.forEach(([what, then]) => model.off(what, then));
}

export default { render };
