// What pages do beyond links and forms. Everything works without it; this makes it quicker.
"use strict";

// An element with data-refresh="SECONDS" is read again from data-from (or this page) for as long as it is there.
function refresh(element) {
  const seconds = Number(element.dataset.refresh);
  if (!(seconds > 0)) return;
  setTimeout(async () => {
    if (!element.isConnected) return;
    if (document.hidden) return refresh(element);
    try {
      const answer = await fetch(element.dataset.from || location.href, { headers: { "X-Part": element.id } });
      if (answer.ok && !answer.redirected) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.getElementById(element.id);
        // Whoever is typing or choosing in it must not lose that.
        if (fresh && !element.contains(document.activeElement)) {
          element.replaceWith(fresh);
          return refresh(fresh);
        }
      }
    } catch { /* the next attempt may succeed */ }
    refresh(element);
  }, seconds * 1000);
}

// A form with data-confirm asks before it is sent.
document.addEventListener("submit", (event) => {
  const question = (event.submitter && event.submitter.dataset.confirm) || event.target.dataset.confirm;
  if (question && !confirm(question)) { event.preventDefault(); return; }
  const button = event.submitter;
  if (button) setTimeout(() => { button.disabled = true; }, 0);
});

// A form with data-preview="ADDRESS" shows the answer to what is typed in the element #preview.
let pending;
document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (!form || !form.dataset.preview) return;
  clearTimeout(pending);
  pending = setTimeout(async () => {
    const place = document.getElementById("preview");
    if (!place) return;
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.dataset.preview, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("preview");
      if (fresh) place.replaceWith(fresh);
    } finally { place.removeAttribute("aria-busy"); }
  }, 400);
});

for (const element of document.querySelectorAll("[data-refresh]")) refresh(element);
