/*
 * Light or dark: what the system says, or what was chosen here and is remembered. Not a module and
 * loaded before the page is drawn, so that it never flashes in the other colours. Whoever draws by
 * itself hears `themechange` on the document.
 */
(() => {
  "use strict";
  const KEY = "gopool-sv2-theme";
  const CHOICES = ["auto", "light", "dark"];
  const root = document.documentElement;

  const remembered = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage may be forbidden
    }
  };
  const remember = (choice) => {
    try {
      localStorage.setItem(KEY, choice);
    } catch {
      // It holds until the page is loaded again.
    }
  };
  const apply = (choice) => {
    root.dataset.theme = CHOICES.includes(choice) ? choice : "auto";
    document.dispatchEvent(new Event("themechange"));
  };

  apply(remembered());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    document.dispatchEvent(new Event("themechange"));
  });
  document.addEventListener("DOMContentLoaded", () => {
    for (const radio of document.querySelectorAll('input[name="theme"]')) {
      radio.checked = radio.value === root.dataset.theme;
      radio.addEventListener("change", () => {
        apply(radio.value);
        remember(radio.value);
      });
    }
  });
})();
