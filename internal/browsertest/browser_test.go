// Package browsertest opens the quick start's pages in a real browser. It is a module of its own, so that the library
// does not depend on a browser's driver.
package browsertest

import (
	"bufio"
	"bytes"
	"context"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// browser returns the path of Chromium, or skips.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("needs Chromium on the PATH")
	return ""
}

// quickstart builds and starts the program with two simulated devices and returns its addresses.
func quickstart(t *testing.T) (devices, console string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "quickstart")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./examples/quickstart")
	build.Dir = filepath.Join("..", "..")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	run := exec.CommandContext(t.Context(), program, "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-data", t.TempDir(), "-simulate", "2")
	run.Env = append(os.Environ(), "APPLEMDM_API_TOKEN=browser-test-token")
	run.Cancel = func() error { return run.Process.Signal(os.Interrupt) }
	run.WaitDelay = 10 * time.Second
	stdout, err := run.StdoutPipe()
	require.NoError(t, err)
	run.Stderr = os.Stderr
	require.NoError(t, run.Start())
	t.Cleanup(func() {
		_ = run.Process.Signal(os.Interrupt)
		_ = run.Wait()
	})
	enrolled := 0
	for lines := bufio.NewScanner(stdout); enrolled < 2 && lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) > 1 && fields[0] == "devices":
			devices = fields[1]
		case len(fields) > 1 && fields[0] == "console":
			console = fields[1]
		case len(fields) > 0 && fields[0] == "enrolled":
			enrolled++
		}
	}
	require.Equal(t, 2, enrolled, "both simulated devices must have enrolled")
	return devices, console
}

// open returns a browser tab of the given size.
func open(t *testing.T, path string, width, height int64, mobile bool) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("ignore-certificate-errors", true)) // the quick start's own CA
	allocator, stopAllocator := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stopAllocator)
	ctx, stop := chromedp.NewContext(allocator)
	t.Cleanup(stop)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	emulate := []chromedp.EmulateViewportOption{}
	if mobile {
		emulate = append(emulate, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	require.NoError(t, chromedp.Do(ctx, chromedp.EmulateViewport(width, height, emulate...)))
	return ctx
}

// shot takes a screenshot, checks that it shows something, and keeps it under SCREENSHOTS if that is set.
func shot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	data, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	require.NoError(t, err)
	img, err := png.Decode(bytes.NewReader(data))
	require.NoError(t, err)
	colors := map[[3]uint32]bool{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y += 3 {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x += 3 {
			r, g, b, _ := img.At(x, y).RGBA()
			colors[[3]uint32{r, g, b}] = true
		}
	}
	assert.Greater(t, len(colors), 20, "%s: the page must not be blank", name)
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".png"), data, 0o600))
	}
}

// eval returns the value of an expression in the page.
func eval[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	require.NoError(t, err)
	return v
}

// fits fails if the page is wider than the window: nobody scrolls sideways on a phone.
func fits(t *testing.T, ctx context.Context) {
	t.Helper()
	overflow := eval[bool](t, ctx, `document.documentElement.scrollWidth > window.innerWidth`)
	assert.False(t, overflow, "the page must not scroll sideways")
}

func TestPages(t *testing.T) {
	path := browser(t)
	devices, console := quickstart(t)
	for _, size := range []struct {
		name          string
		width, height int64
		mobile        bool
	}{{"desktop", 1280, 900, false}, {"phone", 390, 844, true}} {
		t.Run(size.name, func(t *testing.T) {
			ctx := open(t, path, size.width, size.height, size.mobile)
			enrollmentPage(t, ctx, devices, size.name)
			consolePage(t, ctx, console, size.name)
		})
	}
}

func enrollmentPage(t *testing.T, ctx context.Context, address, size string) {
	require.NoError(t, chromedp.Do(ctx, chromedp.Navigate(address), chromedp.WaitVisible("#enroll")))
	assert.Equal(t, "/trust.mobileconfig", eval[string](t, ctx, `document.querySelector("#trust").getAttribute("href")`))
	assert.Equal(t, "/enroll.mobileconfig", eval[string](t, ctx, `document.querySelector("#enroll").getAttribute("href")`))
	fits(t, ctx)
	shot(t, ctx, "enroll-"+size)
}

// fromApple looks at the devices that Apple says are ours: one came by itself, and one is in its box still.
func fromApple(t *testing.T, ctx context.Context, size string) {
	t.Helper()
	require.NoError(t, chromedp.Do(ctx, chromedp.WaitVisible("#apple .pushed"), chromedp.WaitVisible("#apple .assigned")))
	text := eval[string](t, ctx, `document.querySelector("#apple").textContent`)
	for _, part := range []string{"STILLINBOX", "not enrolled yet", "iPad mini · enrolled", "supervised, cannot be removed"} {
		assert.Contains(t, text, part)
	}
	assert.Contains(t, eval[string](t, ctx, `document.querySelector("#appleToken").textContent`), "good until")
	eval[bool](t, ctx, `(document.querySelector("#appleTitle").scrollIntoView(), true)`)
	fits(t, ctx)
	shot(t, ctx, "apple-"+size)
}

func consolePage(t *testing.T, ctx context.Context, address, size string) {
	require.NoError(t, chromedp.Do(ctx,
		chromedp.Navigate(address),
		chromedp.WaitVisible("#devices .device"),
		chromedp.WaitVisible("#send"),
		chromedp.Click("#sendButton"),
		chromedp.WaitVisible("#commands .acknowledged"), // by push, answered, and shown live
		chromedp.WaitVisible("#commands pre"),
		chromedp.WaitVisible("#events li"),
	), "the console must show devices, take a command and show its result")
	assert.Equal(t, "enrolled", eval[string](t, ctx, `document.querySelector("#devices .badge").textContent`))
	require.Eventually(t, func() bool { // a practice may have asked for something since
		return eval[bool](t, ctx, `[...document.querySelectorAll("#commands pre")].some((e) => e.textContent.includes("OSVersion"))`)
	}, 20*time.Second, 100*time.Millisecond)
	fromApple(t, ctx, size)
	fits(t, ctx)
	shot(t, ctx, "console-"+size)

	base, _, _ := strings.Cut(address, "#")
	require.NoError(t, chromedp.Do(ctx,
		chromedp.Navigate("about:blank"),
		chromedp.Navigate(base+"#token=wrong"),
		chromedp.WaitVisible("#loginError"),
	))
	assert.True(t, eval[bool](t, ctx, `document.querySelector("#console").hidden`), "a wrong token must not open the console")
}
