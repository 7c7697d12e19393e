// Package dashboard tests the page of the statistics service in a real browser: its modules one by
// one, and the whole page on the whole line (minipool, sidecar, statistics service, miners), where its
// totals must equal the pool's books.
//
// The browser is headless Chromium, driven over its own protocol; without it these tests are skipped,
// loudly. tests/dashboard/run builds the line and finds or installs the browser.
package dashboard
