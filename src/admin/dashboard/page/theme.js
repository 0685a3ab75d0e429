// The colours: those of the system, or the ones that were chosen. Runs before the page is drawn, so that it does not flash.
"use strict";

(() => {
  const CHOICES = ["system", "light", "dark"];

  function stored() {
    try {
      const value = localStorage.getItem("tidegate-theme");
      return CHOICES.includes(value) ? value : "system";
    } catch {
      return "system";
    }
  }

  function apply(choice) {
    if (choice === "system") {
      delete document.documentElement.dataset.theme;
    } else {
      document.documentElement.dataset.theme = choice;
    }
    document.dispatchEvent(new Event("themechange"));
  }

  let choice = stored();
  apply(choice);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(choice));
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => { button.textContent = `Theme: ${choice}`; };
    label();
    button.addEventListener("click", () => {
      choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
      try {
        localStorage.setItem("tidegate-theme", choice);
      } catch {
        // The choice lasts as long as the page.
      }
      label();
      apply(choice);
    });
  });
})();
