"use strict";
(() => {
  const root = document.documentElement;
  const one = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // ---- light and dark: the system's choice until the reader makes another
  const KEY = "reverse-codi-theme";
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const remembered = () => { try { return localStorage.getItem(KEY); } catch { return null; } };
  const remember = (theme) => { try { localStorage.setItem(KEY, theme); } catch { /* a file may not store */ } };
  if (["light", "dark"].includes(remembered())) root.dataset.theme = remembered();

  // ---- charts: drawn when they come into view, in the theme's colours
  const charts = JSON.parse(one("#charts").textContent);
  const drawn = new Set();
  const colours = () => {
    const style = getComputedStyle(root);
    return Object.fromEntries(["ink", "soft", "line", "surface"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  };
  const layoutOf = (chart) => {
    const { ink, soft, line, surface } = colours();
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, tickfont: { color: soft }, automargin: true };
    const title = (own) => (own?.title ? { ...own.title, font: { color: soft, size: 12 } } : undefined);
    const narrow = innerWidth < 700;
    const own = chart.layout;
    return {
      ...own,
      autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12 },
      margin: { l: 48, r: 14, t: 12, b: 40 },
      legend: { orientation: "h", y: narrow ? -0.22 : 1.02, yanchor: narrow ? "top" : "bottom", x: 0, font: { color: soft } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: soft, activecolor: ink },
      hoverlabel: { bgcolor: surface, bordercolor: line, font: { color: ink } },
      xaxis: { ...axis, ...own.xaxis, title: title(own.xaxis) },
      yaxis: { ...axis, ...own.yaxis, title: title(own.yaxis) },
    };
  };
  const draw = (place) => {
    const chart = charts[place.dataset.chart];
    Plotly.react(place, chart.data, layoutOf(chart), { displaylogo: false, displayModeBar: innerWidth >= 700 && place.closest("#map") ? "hover" : false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d"] });
    if (!drawn.has(place)) {
      drawn.add(place);
      place.on("plotly_click", (event) => {
        const trace = event.points[0]?.customdata;
        if (Number.isInteger(trace)) go(one(`#trace-${trace + 1}`));
      });
    }
  };
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting && !drawn.has(entry.target)) draw(entry.target);
  }, { rootMargin: "300px" });
  all(".chart").forEach((place) => watcher.observe(place));
  const retheme = () => drawn.forEach(draw);
  const switchTheme = () => {
    root.dataset.theme = dark() ? "light" : "dark";
    remember(root.dataset.theme);
    retheme();
  };
  one("#theme").addEventListener("click", switchTheme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", retheme);

  // ---- the chart of one figure of an ablation table
  const choice = one("#ablation-figure");
  if (choice) {
    const choose = () => all(".ablation-chart").forEach((each) => { each.hidden = each.id !== `of-${choice.value}`; });
    choice.addEventListener("change", choose);
    choose();
  }

  // ---- traces: search, filter, and one after the other
  const traces = all("article.trace"); // Plotly has a class of this name
  const search = one("#search"), site = one("#site"), trust = one("#trust"), output = one("#shown");
  const texts = new Map(traces.map((trace) => [trace, trace.textContent.toLowerCase().replace(/\s+/g, " ")]));
  const visible = () => traces.filter((trace) => !trace.hidden);
  let current = null;

  const highlight = (words) => {
    if (!("highlights" in CSS)) return;
    CSS.highlights.delete("found");
    if (!words.length) return;
    const ranges = [];
    for (const trace of visible()) {
      const walker = document.createTreeWalker(trace, NodeFilter.SHOW_TEXT);
      while (walker.nextNode() && ranges.length < 2000) {
        const text = walker.currentNode.data.toLowerCase();
        for (const word of words) {
          for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
            const range = new Range();
            range.setStart(walker.currentNode, at);
            range.setEnd(walker.currentNode, at + word.length);
            ranges.push(range);
          }
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  };
  // A search is a phrase: "24 * 2" means what it says. Without such a phrase every word must occur.
  const fits = (text, phrase, words) => text.includes(phrase) || (words.length > 1 && words.every((word) => text.includes(word)));
  const filter = () => {
    const phrase = search.value.trim().toLowerCase().replace(/\s+/g, " ");
    const words = phrase.split(" ").filter(Boolean);
    const some = traces.some((trace) => texts.get(trace).includes(phrase));
    for (const trace of traces) {
      let left = 0;
      for (const card of all(".card", trace)) {
        card.hidden = Boolean((site.value && card.dataset.site !== site.value) || (trust.value && card.dataset.trusted !== trust.value));
        left += !card.hidden;
      }
      trace.hidden = !left || !(some ? texts.get(trace).includes(phrase) : fits(texts.get(trace), phrase, words));
      const entry = one(`.list a[data-trace="${trace.id.slice(6)}"]`);
      entry.parentElement.hidden = trace.hidden;
    }
    const shown = visible().length;
    output.textContent = shown === traces.length ? `${shown} traces` : `${shown} of ${traces.length} traces`;
    one("#nothing").hidden = shown > 0;
    highlight(some ? (phrase ? [phrase] : []) : words);
  };
  const clear = () => { search.value = site.value = trust.value = ""; filter(); };

  const mark = (trace) => {
    current = trace;
    for (const entry of all(".list a")) {
      if (entry.dataset.trace === trace?.id.slice(6)) entry.setAttribute("aria-current", "true");
      else entry.removeAttribute("aria-current");
    }
  };
  function go(trace) {
    if (!trace) return;
    if (trace.hidden) clear();
    trace.focus({ preventScroll: true });
    trace.scrollIntoView({ block: "start" });
    mark(trace);
  }
  const move = (by) => {
    const shown = visible();
    const at = shown.indexOf(current);
    go(at < 0 ? shown[0] : shown[Math.min(shown.length - 1, Math.max(0, at + by))]);
  };
  if (traces.length) {
    for (const control of [site, trust]) control.addEventListener("change", filter);
    search.addEventListener("input", filter);
    one("#clear").addEventListener("click", clear);
    one("#next").addEventListener("click", () => move(1));
    one("#previous").addEventListener("click", () => move(-1));
    for (const entry of all(".list a")) {
      entry.addEventListener("click", (event) => { event.preventDefault(); go(one(`#trace-${entry.dataset.trace}`)); });
    }
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) mark(entry.target);
    }, { rootMargin: "-15% 0px -75% 0px" });
    traces.forEach((trace) => seen.observe(trace));
    filter();
  }

  // ---- keys
  const help = one("#help");
  one("#keys").addEventListener("click", () => help.showModal());
  const typing = (target) => target instanceof HTMLElement && (target.matches("input, select, textarea") || target.isContentEditable);
  const actions = {
    j: () => move(1), ArrowRight: () => move(1), k: () => move(-1), ArrowLeft: () => move(-1),
    t: switchTheme, "?": () => help.showModal(),
    "/": () => { search?.focus(); search?.select(); },
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (event.key === "Escape" && search && (event.target === search || !typing(event.target))) {
      clear();
      search.blur();
    } else if (!typing(event.target) && actions[event.key] && (traces.length || ["t", "?"].includes(event.key))) {
      event.preventDefault();
      actions[event.key]();
    }
  });
})();
