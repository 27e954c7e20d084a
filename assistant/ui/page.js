/* Behaviour of the chat page. Reads the class names and data attributes that page.py writes.
   Text from papers comes as HTML that the server has made safe, or is put in as textContent. */
() => {
  "use strict";
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const show = (element, block) =>
    element?.scrollIntoView({ block, behavior: calm.matches ? "auto" : "smooth" });

  document.documentElement.lang = "en";

  // Shared with the scripts of the other tabs. The address says which collection the page shows.
  const collection = new URLSearchParams(location.search).get("collection") ?? "";
  const own = (window.assistantPage = { collection });

  const download = ({ name, content, media_type }) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: media_type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // A page that is not served by this machine itself has no clipboard interface.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };

  const say = (button, text) => {
    const usual = (button.dataset.usual ??= button.textContent);
    button.textContent = text;
    setTimeout(() => (button.textContent = usual), 1_600);
  };

  // Into a field of Gradio's, as if it had been typed.
  const fill = (field, value) => {
    field.value = value;
    field.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const box = () => one("#question textarea");

  const openTab = (name) => one(`#tab-${name}-button`)?.click();

  const ask = (question, papers = null) => {
    const before = scope;
    openTab("chat");
    if (papers) setScope(papers, "");
    fill(box(), question);
    // Gradio reads the fields in its next turn.
    setTimeout(() => {
      one("#ask").click();
      if (papers) setTimeout(() => setScope(before.ids, before.label), 300);
    }, 60);
  };

  // Only some papers are asked: told above the ask box, kept until it is taken back.
  let scope = { ids: [], label: "" };
  const setScope = (ids, label) => {
    scope = { ids, label };
    const bar = one(".scope");
    if (!bar) return;
    bar.hidden = ids.length === 0;
    const count = ids.length === 1 ? "1 paper" : `${ids.length.toLocaleString("en")} papers`;
    one(".scope-text", bar).textContent = `Asking ${count} only${label ? `: ${label}` : ""}`;
    fill(one("#scope textarea, #scope input"), ids.length ? JSON.stringify(ids) : "");
  };

  const escapeHtml = (text) => {
    const holder = document.createElement("span");
    holder.textContent = text;
    return holder.innerHTML.replaceAll('"', "&quot;");
  };

  // Calls of the server. What goes wrong is said, whatever it was.
  const notice = document.createElement("div");
  notice.id = "notice";
  notice.setAttribute("role", "alert");
  notice.hidden = true;
  document.body.append(notice);
  let noticeTimer = 0;
  const tell = (text, hint = "") => {
    notice.textContent = hint ? `${text} Try: ${hint}` : text;
    notice.hidden = false;
    clearTimeout(noticeTimer);
    noticeTimer = setTimeout(() => (notice.hidden = true), 12_000);
  };
  const caller = (serverOf) =>
    new Proxy(
      {},
      {
        get: (_, name) => async (wanted) => {
          let answer;
          const { collection } = own;
          try {
            answer = await serverOf()[name]({ wanted, collection });
          } catch {
            answer = { error: "The assistant does not answer.", hint: "reload this page" };
          }
          if (!answer?.error) return answer;
          tell(answer.error, answer.hint);
          throw new Error(answer.error);
        },
      },
    );
  const desk = caller(() => window.deskServer);
  // Told already.
  addEventListener("unhandledrejection", (event) => notice.hidden || event.preventDefault());

  Object.assign(own, { download, caller, tell, copy, say, ask, openTab, setScope, escapeHtml });

  // The sources panel shows one turn at a time. Those of an earlier one are fetched.
  const sectionOf = (turn) =>
    all("#sources-panel .sources").find((section) => section.dataset.turn === turn);
  const showSources = async (turn) => {
    let wanted = sectionOf(turn);
    if (!wanted) {
      const { conversation } = one(`#turns .turn[data-turn="${turn}"]`).dataset;
      // Safe HTML: the server has written it, as all of this page.
      const markup = await desk.sources({ conversation, number: Number(turn) });
      one(".past-sources").innerHTML = markup;
      wanted = sectionOf(turn);
    }
    if (!wanted) return null;
    for (const section of all("#sources-panel .sources")) section.hidden = section !== wanted;
    return wanted;
  };

  // An answer that stands alone has its sources below it.
  const sourcesOf = (element) => {
    const alone = element.closest(".standalone");
    return alone ? one(".sources", alone) : showSources(element.dataset.turn);
  };

  const light = (elements) => {
    for (const lit of all(".lit")) lit.classList.remove("lit");
    for (const element of elements) element.classList.add("lit");
  };

  const openUp = (element) => {
    const folded = element?.closest("details");
    if (folded) folded.open = true;
  };

  const showCitation = async (chip) => {
    const section = await sourcesOf(chip);
    if (!section) return;
    const name = chip.dataset.mark;
    const marks = all("mark", section).filter((mark) =>
      mark.dataset.marks.split(" ").includes(name),
    );
    const numbers = all(".mark-number", section).filter((mark) => mark.dataset.of === name);
    hideTip();
    light([chip, ...marks, ...numbers]);
    openUp(marks[0]);
    show(marks[0], "center");
  };

  const showPaper = async (button) => {
    const section = await sourcesOf(button);
    const paper = section && one(`#${button.dataset.paper}`, section);
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
    fill(box(), button.dataset.question);
    box().focus();
    box().setSelectionRange(box().value.length, box().value.length);
  };

  const again = (button) => {
    const { question, papers } = button.dataset;
    ask(question, papers ? JSON.parse(papers) : null);
  };

  // What is wanted of the server: a turn of a conversation, or the conversation.
  const turnOf = (element) => {
    const turn = element.closest(".turn");
    if (!turn) return { conversation: conversationHere(), number: null };
    return { conversation: turn.dataset.conversation, number: Number(turn.dataset.turn) };
  };
  const conversationHere = () => one("#current .turn")?.dataset.conversation;

  const copyAnswer = async (button) => {
    const file = await desk.save({ ...turnOf(button), form: "markdown" });
    await copy(file.content);
    say(button, "Copied");
  };
  const save = async (button) => {
    button.closest("details").open = false;
    download(await desk.save({ ...turnOf(button), form: button.dataset.form }));
  };
  const copyLink = async (button) => {
    await copy(location.href);
    say(button, "Copied");
  };

  // What was judged since the page was opened: an answer is drawn anew when it becomes a past one.
  const judged = new Map();
  const press = (button) => {
    const pressed = button.getAttribute("aria-pressed") !== "true";
    const kind = button.classList.contains("good") ? "good" : "bad";
    judged.set(JSON.stringify(turnOf(button)), pressed ? kind : "");
    showJudged(button.closest(".turn"));
    return pressed;
  };
  const showJudged = (turn) => {
    const kind = judged.get(JSON.stringify(turnOf(turn)));
    if (kind === undefined) return;
    for (const each of all(".rate [aria-pressed]", turn)) {
      const wanted = String(each.classList.contains(kind || "none"));
      if (each.getAttribute("aria-pressed") !== wanted) each.setAttribute("aria-pressed", wanted);
    }
  };
  const good = (button) =>
    desk.rate({ ...turnOf(button), rating: press(button) ? "good" : null });
  const bad = async (button) => {
    const turn = turnOf(button);
    if (!press(button)) return desk.rate({ ...turn, rating: null });
    desk.rate({ ...turn, rating: "bad" });
    const dialog = one("#why");
    dialog.innerHTML = await desk.why(turn);
    dialog.onclose = async () => {
      if (!dialog.returnValue) return;
      const why = Object.fromEntries(new FormData(one("form", dialog)));
      await desk.rate({ ...turn, rating: "bad", why });
      if (dialog.returnValue === "row") download(await desk.rows(turn));
    };
    dialog.returnValue = "";
    dialog.showModal();
  };

  // History
  const listHistory = async () => {
    const words = one("#history .search").value;
    one("#history .kept-list").innerHTML = await desk.conversations({ words });
  };
  const openHistory = () => {
    one("#history").showModal();
    listHistory();
  };
  const rowOf = (button) => button.closest("li");
  const rename = (button) => {
    const row = rowOf(button);
    const link = one("a", row);
    const field = document.createElement("input");
    field.value = link.textContent;
    field.setAttribute("aria-label", "New title");
    link.replaceWith(field);
    field.select();
    let done = false;
    const finish = async (keep) => {
      if (done) return;
      done = true;
      if (keep) {
        const { conversation } = row.dataset;
        await desk.change({ what: "rename", conversation, title: field.value });
      }
      listHistory();
    };
    field.addEventListener("blur", () => finish(true));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") finish(true);
      if (event.key === "Escape") {
        event.preventDefault();
        event.stopPropagation();
        finish(false);
      }
    });
  };
  // Asked twice, in place: a second click on the same button does it.
  const sure = (button, question) => {
    if (button.dataset.sure) return true;
    button.dataset.sure = "yes";
    const usual = button.textContent;
    button.textContent = question;
    setTimeout(() => {
      delete button.dataset.sure;
      button.textContent = usual;
    }, 4_000);
    return false;
  };
  own.sure = sure;
  const forget = async (button) => {
    if (!sure(button, "Really delete?")) return;
    const { conversation } = rowOf(button).dataset;
    await desk.change({ what: "delete", conversation });
    if (conversation === conversationHere()) one("#fresh").click();
    listHistory();
  };
  const forgetAll = async (button) => {
    if (!sure(button, "Really delete all?")) return;
    await desk.change({ what: "delete all" });
    one("#fresh").click();
    listHistory();
  };
  document.addEventListener("input", (event) => {
    if (event.target.matches?.("#history .search")) listHistory();
  });

  const actions = [
    [".turn .chip", showCitation],
    [".show-paper", showPaper],
    [
      ".show-sources",
      async (button) => show(await sourcesOf(button), "start"),
    ],
    [
      ".back",
      (button) => {
        const within = button.closest(".standalone") ?? one("#turns");
        show(one(`.turn[data-turn="${button.dataset.turn}"]`, within), "start");
      },
    ],
    [".more", toggleAbstract],
    [".edit", edit],
    [".again", again],
    [".ask-this", (button) => ask(button.dataset.question)],
    [".turn .copy", copyAnswer],
    [".save", save],
    [".copy-link", copyLink],
    [".rate .good", good],
    [".rate .bad", bad],
    [".scope-clear", () => setScope([], "")],
    [".open-history", openHistory],
    [".close-dialog", (button) => button.closest("dialog").close()],
    ["#history .rename", rename],
    ["#history .delete", forget],
    ["#history .delete-all", forgetAll],
    ["#history .rows", async () => download(await desk.rows({}))],
  ];
  document.addEventListener("click", (event) => {
    for (const menu of all("details.menu[open]"))
      if (!menu.contains(event.target)) menu.open = false;
    for (const [selector, act] of actions) {
      const target = event.target.closest?.(selector);
      if (target) return act(target);
    }
  });

  // The quotation behind a chip, on hover and on keyboard focus.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const showTip = (chip) => {
    // Safe HTML: the server has written it, as all of this page.
    tip.innerHTML = chip.dataset.tip;
    tip.hidden = false;
    const at = chip.getBoundingClientRect();
    const size = tip.getBoundingClientRect();
    const right = chip.closest("#turns, .standalone").getBoundingClientRect().right;
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
    const chips = all(".turn .chip").filter((chip) => chip.checkVisibility());
    if (!chips.length) return;
    const at = chips.indexOf(document.activeElement);
    const next = chips[at < 0 ? (by > 0 ? 0 : chips.length - 1) : at + by];
    next?.focus();
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (one("dialog[open]")) return;
    if (event.key === "Escape") {
      hideTip();
      for (const menu of all("details.menu[open]")) {
        menu.open = false;
        one("summary", menu).focus();
      }
      if (one('#turns .turn[data-state="running"]')) one("#stop")?.click();
      return;
    }
    if (typing(event.target)) return;
    if (event.key === "/") {
      event.preventDefault();
      const panel = all(".tabitem").find((each) => each.checkVisibility());
      one("#question textarea, input[type=search]", panel)?.focus();
    } else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
  });

  // The address leads to the conversation: reloaded, kept as a bookmark, or sent to oneself.
  let began = false;
  const rememberConversation = (name) => {
    const address = new URL(location.href);
    // Before the first turn is shown, the address knows better than the page.
    if (!name && !began) return;
    began = true;
    if ((address.searchParams.get("conversation") ?? "") === (name ?? "")) return;
    if (name) address.searchParams.set("conversation", name);
    else address.searchParams.delete("conversation");
    // A conversation belongs to its collection, whichever the program is started with tomorrow.
    const here = one(".masthead")?.dataset.collection;
    if (here) address.searchParams.set("collection", here);
    history.replaceState(null, "", address);
  };

  // A connection that is lost comes back by itself; what was typed or being answered is kept.
  const KEPT = "abstract-assistant-question";
  const banner = document.createElement("div");
  banner.id = "lost";
  banner.setAttribute("role", "alert");
  banner.hidden = true;
  banner.textContent =
    "The assistant cannot be reached. If it was closed, start it again: assistant serve. " +
    "This page goes on by itself.";
  document.body.append(banner);
  const reachable = async () => {
    try {
      const root = window.gradio_config?.root ?? "."; // a proxy may show the page anywhere
      const answer = await fetch(`${root}/gradio_api/startup-events`, { cache: "no-store" });
      return answer.status < 500;
    } catch {
      return false;
    }
  };
  const watchConnection = async () => {
    const was = !banner.hidden;
    let there = await reachable();
    if (!there && !was) there = await reachable(); // once is no loss
    if (!there) {
      banner.hidden = false;
      // Now, as Gradio reloads the page on its own account, too.
      const running = one('#turns .turn[data-state="running"] .edit')?.dataset.question;
      sessionStorage.setItem(KEPT, box()?.value || running || "");
    } else if (was) {
      location.reload();
      return;
    }
    setTimeout(watchConnection, there ? 5_000 : 1_500);
  };
  setTimeout(watchConnection, 5_000);
  const kept = sessionStorage.getItem(KEPT);
  if (kept) {
    sessionStorage.removeItem(KEPT);
    const putBack = () => {
      if (!box()) return setTimeout(putBack, 200); // Gradio is not ready yet
      if (!box().value) fill(box(), kept);
    };
    setTimeout(putBack, 800);
  }

  // A new question comes into view once; after that the reader alone scrolls.
  let newest = 0;
  const followQuestions = () => {
    const last = one("#current .turn");
    own.onTurn?.(last);
    rememberConversation(last?.dataset.conversation);
    const number = Number(last?.dataset.turn ?? 0);
    if (number !== newest) {
      newest = number;
      all("#past .turn").forEach(showJudged);
      one(".past-sources")?.replaceChildren();
      // At once and after layout: a smooth scroll is cut short by the page growing under it.
      if (number > 1) requestAnimationFrame(() => last.scrollIntoView({ block: "start" }));
    }
  };
  const watched = one("#turns");
  if (watched) {
    new MutationObserver(followQuestions).observe(watched, { childList: true, subtree: true });
  }
}
