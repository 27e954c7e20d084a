/* Behaviour of the chat page. Reads the class names and data attributes that page.py writes.
   Text from papers is only ever put into the document as textContent. */
() => {
  "use strict";
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const show = (element, block) =>
    element?.scrollIntoView({ block, behavior: calm.matches ? "auto" : "smooth" });

  document.documentElement.lang = "en";

  // The sources panel shows one turn at a time.
  const showSources = (turn) => {
    const sections = all("#sources-panel .sources");
    const wanted = sections.find((section) => section.dataset.turn === turn);
    if (!wanted) return null;
    for (const section of sections) section.hidden = section !== wanted;
    return wanted;
  };

  const light = (elements) => {
    for (const lit of all(".lit")) lit.classList.remove("lit");
    for (const element of elements) element.classList.add("lit");
  };

  const openUp = (element) => {
    const folded = element?.closest("details");
    if (folded) folded.open = true;
  };

  const showCitation = (chip) => {
    const section = showSources(chip.dataset.turn);
    if (!section) return;
    const name = chip.dataset.mark;
    const marks = all("mark", section).filter((mark) =>
      mark.dataset.marks.split(" ").includes(name),
    );
    const numbers = all(".mark-number", section).filter((mark) => mark.dataset.of === name);
    hideTip();
    light([chip, ...marks, ...numbers]);
    openUp(marks[0]);
    show(marks[0], "nearest");
  };

  const showPaper = (button) => {
    const section = showSources(button.dataset.turn);
    const paper = section && document.getElementById(button.dataset.paper);
    if (!paper) return;
    openUp(paper);
    light([paper]);
    show(paper, "start");
    paper.focus({ preventScroll: true });
  };

  const toggleAbstract = (button) => {
    const abstract = one(".abstract", button.closest(".paper"));
    const open = abstract.classList.toggle("brief") === false;
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? "Less" : "Abstract";
  };

  const edit = (button) => {
    const box = one("#question textarea");
    box.value = button.dataset.question;
    box.dispatchEvent(new Event("input", { bubbles: true }));
    box.focus();
    box.setSelectionRange(box.value.length, box.value.length);
  };

  const actions = [
    [".turn .chip", showCitation],
    [".show-paper", showPaper],
    [".show-sources", (button) => show(showSources(button.dataset.turn), "start")],
    [".back", (button) => show(one(`.turn[data-turn="${button.dataset.turn}"]`), "start")],
    [".more", toggleAbstract],
    [".edit", edit],
  ];
  document.addEventListener("click", (event) => {
    for (const [selector, act] of actions) {
      const target = event.target.closest?.(selector);
      if (target) return act(target);
    }
  });

  // The quotation behind a chip, on hover and on keyboard focus.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  tip.append(document.createElement("q"), document.createElement("cite"));
  document.body.append(tip);
  const showTip = (chip) => {
    one("q", tip).textContent = chip.dataset.quote;
    one("cite", tip).textContent = chip.dataset.title;
    tip.hidden = false;
    const at = chip.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const right = chip.closest("#turns").getBoundingClientRect().right;
    const left = Math.max(8, Math.min(at.left - 16, right - size.width - 8));
    const above = at.top - size.height - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 8 ? above : at.bottom + 8}px`;
  };
  const hideTip = () => {
    tip.hidden = true;
  };
  const chipOf = (event) => event.target.closest?.(".turn .chip");
  for (const [enter, leave] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
    document.addEventListener(enter, (event) => chipOf(event) && showTip(chipOf(event)));
    document.addEventListener(leave, (event) => chipOf(event) && hideTip());
  }
  addEventListener("scroll", hideTip, true);

  // Nothing is sent for an empty box: its reply could meet, and empty, a question typed since.
  const isEmpty = () => !one("#question textarea")?.value.trim();
  const holdBack = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  document.addEventListener(
    "click",
    (event) => event.target.closest?.("#ask") && isEmpty() && holdBack(event),
    true,
  );
  document.addEventListener(
    "keydown",
    (event) => {
      const sends = event.key === "Enter" && !event.shiftKey;
      if (sends && event.target.closest?.("#question") && isEmpty()) holdBack(event);
    },
    true,
  );

  // Keys.
  const typing = (element) => element?.matches?.("textarea, input, select, [contenteditable]");
  const step = (by) => {
    const chips = all(".turn .chip");
    if (!chips.length) return;
    const at = chips.indexOf(document.activeElement);
    const next = chips[at < 0 ? (by > 0 ? 0 : chips.length - 1) : at + by];
    next?.focus();
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      hideTip();
      if (one('.turn[data-state="running"]')) one("#stop")?.click();
      return;
    }
    if (typing(event.target)) return;
    if (event.key === "/") {
      event.preventDefault();
      one("#question textarea")?.focus();
    } else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
  });

  // A new question comes into view once; after that the reader alone scrolls.
  let newest = 0;
  const followQuestions = () => {
    const turns = all(".turn");
    const last = turns[turns.length - 1];
    const number = Number(last?.dataset.turn ?? 0);
    if (number !== newest) {
      newest = number;
      // At once and after layout: a smooth scroll is cut short by the page growing under it.
      if (number > 1) requestAnimationFrame(() => last.scrollIntoView({ block: "start" }));
    }
  };
  const watched = one("#turns");
  if (watched) {
    new MutationObserver(followQuestions).observe(watched, { childList: true, subtree: true });
  }
}
