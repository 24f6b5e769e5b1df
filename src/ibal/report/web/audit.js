// Replays: what their pages have in common is kept once, packed; a page is put together when it is opened.
(async () => {
  const { pieces, films } = JSON.parse(await unpacked(document.getElementById("films").textContent));
  document.querySelectorAll("iframe[data-film]").forEach((frame) => {
    const around = frame.closest("details");
    const show = () => { if (around.open && !frame.srcdoc) frame.srcdoc = films[frame.dataset.film].map((i) => pieces[i]).join(""); };
    around.addEventListener("toggle", show);
    show();
  });
  document.documentElement.dataset.step = "ready"; // for scripts that drive the page
})();
