// Replays: what their pages have in common is kept once, packed; a page is put together when it is opened.
(async () => {
  const bytes = Uint8Array.from(atob(document.getElementById("films").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const { pieces, films } = JSON.parse(await new Response(stream).text());
  document.querySelectorAll("iframe[data-film]").forEach((frame) => {
    const around = frame.closest("details");
    const show = () => { if (around.open && !frame.srcdoc) frame.srcdoc = films[frame.dataset.film].map((i) => pieces[i]).join(""); };
    around.addEventListener("toggle", show);
    show();
  });
  document.documentElement.dataset.step = "ready"; // for scripts that drive the page
})();
