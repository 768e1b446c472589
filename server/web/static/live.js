// A run that is under way is brought up to date: by events, or, where none come, by asking.
(() => {
  const live = document.getElementById("live");
  if (!live || !window.htmx || !live.dataset.events) return;
  const places = "a[href], summary, [tabindex]";
  let asking = 0;
  let source = null;
  let open = [];
  let focus = -1;
  const ask = () => { if (!document.hidden) htmx.trigger(live, "changed"); };
  const askNowAndThen = () => { if (!asking) asking = setInterval(ask, 5000); };
  const listen = () => {
    if (!window.EventSource) { askNowAndThen(); return; }
    source = new EventSource(live.dataset.events);
    source.addEventListener("changed", () => { clearInterval(asking); asking = 0; ask(); });
    source.addEventListener("error", askNowAndThen);
  };
  const stop = () => { clearInterval(asking); if (source) source.close(); };
  // What was opened stays open, and who moves by keyboard stays where they are.
  live.addEventListener("htmx:beforeSwap", () => {
    open = [...live.querySelectorAll("details")].map((one) => one.open);
    focus = [...live.querySelectorAll(places)].indexOf(document.activeElement);
  });
  live.addEventListener("htmx:afterSwap", () => {
    live.querySelectorAll("details").forEach((one, at) => { one.open = Boolean(open[at]); });
    if (focus >= 0) live.querySelectorAll(places)[focus]?.focus();
    const told = document.getElementById("told-now");
    const now = live.querySelector("[data-now]")?.textContent.trim() ?? "";
    if (told && told.dataset.last !== live.querySelector("[data-step]")?.dataset.step) {
      told.dataset.last = live.querySelector("[data-step]")?.dataset.step ?? "";
      told.textContent = now;
    }
    if (live.querySelector("[data-over]")) stop();
  });
  addEventListener("pagehide", stop);
  listen();
})();
