// Draw the formulas of each page that is opened; without a network there is no KaTeX, and they stay LaTeX.
document$.subscribe(({ body }) => {
  if (typeof renderMathInElement === "undefined") return;
  renderMathInElement(body, {
    delimiters: [
      { left: "$$", right: "$$", display: true },
      { left: "\\(", right: "\\)", display: false },
      { left: "\\[", right: "\\]", display: true },
    ],
  });
});
