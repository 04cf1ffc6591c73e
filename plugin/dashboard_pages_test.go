package plugin

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// servedDashboard is a dashboard that runs, and a browser that is signed in.
type servedDashboard struct {
	http.Client
	base    string
	home    string // path of the first page
	signals chan os.Signal
	code    chan int
	errOut  *lockedBuffer
}

func serveDashboard(t *testing.T, f *fake, args ...string) *servedDashboard {
	t.Helper()
	t.Setenv("KUBECONFIG", "testdata/kubeconfig")
	out := &lineWaiter{first: make(chan string, 1)}
	d := &servedDashboard{signals: make(chan os.Signal), code: make(chan int, 1), errOut: &lockedBuffer{}}
	a := f.app(genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: d.errOut})
	go func() { d.code <- a.runUntilSignal(append([]string{"dashboard", "--no-open"}, args...), d.signals) }()
	address, _, _ := strings.Cut(strings.TrimPrefix(<-out.first, "Dashboard: "), " ")
	d.base, _, _ = strings.Cut(address, "/open")
	var err error
	d.Jar, err = cookiejar.New(nil)
	require.NoError(t, err)
	d.home, _ = d.request(t, address, nil)
	return d
}

// request returns the address and text of the page that a request leads to; with a form it is a
// POST.
func (d *servedDashboard) request(t *testing.T, address string, form url.Values) (at, text string) {
	t.Helper()
	if strings.HasPrefix(address, "/") {
		address = d.base + address
	}
	var response *http.Response
	var err error
	if form == nil {
		response, err = d.Get(address) //nolint:noctx // of this test's own server
	} else {
		response, err = d.PostForm(address, form) //nolint:noctx // of this test's own server
	}
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Less(t, response.StatusCode, 400, string(body))
	return response.Request.URL.Path, string(body)
}

// planned plans a rotation of etcd, and returns the address of the plan.
func (d *servedDashboard) planned(t *testing.T) string {
	t.Helper()
	plan, _ := d.request(t, d.home+"clusters/night-shift/plans", url.Values{"scope": {"some"}, "service": {"etcd"}, "restart": {"always"}})
	require.Contains(t, plan, "/plans/")
	require.Eventually(t, func() bool {
		_, page := d.request(t, plan, nil)
		require.NotContains(t, page, "could not be made")
		return strings.Contains(page, "Save")
	}, time.Minute, time.Millisecond)
	return plan
}

// TestCtrlCEndsTheDashboardAfterTheNodeInProgress: its exit code is that of a rotation.
func TestCtrlCEndsTheDashboardAfterTheNodeInProgress(t *testing.T) {
	f := healthy()
	d := serveDashboard(t, f)
	plan := d.planned(t)
	f.onCommit = func(node string) {
		if node == "cp1" {
			d.signals <- os.Interrupt
			<-f.rotation.Done()
		}
	}
	d.request(t, plan, url.Values{})
	assert.Equal(t, 130, <-d.code)
	printed := d.errOut.String()
	assert.Contains(t, printed, "night-shift: rotation of etcd begins\n")
	assert.Contains(t, printed, "finishing or rolling back cp1 of night-shift, then stopping; press Ctrl-C again to stop at once\n")
	assert.Contains(t, printed, "night-shift: rotation interrupted.")
	assert.Contains(t, printed, "error: rotation of night-shift: interrupted\n  cp1 keeps the new, verified certificates\n  cp2 cp3 were not touched")
	assert.False(t, f.did("Commit cp2"))
}

// TestDashboardRotatesFromItsPages: it stays after the rotation, and ends without an error.
func TestDashboardRotatesFromItsPages(t *testing.T) {
	f := healthy()
	d := serveDashboard(t, f, "--context", "night-shift")
	plan := d.planned(t)
	rotation, _ := d.request(t, plan, url.Values{})
	_, events := d.request(t, rotation+"/events", nil) // it ends with the rotation
	assert.Contains(t, events, "event: end")
	_, page := d.request(t, rotation, nil)
	assert.Contains(t, page, "succeeded")
	assert.True(t, f.did("Commit cp3"))
	f.log = nil
	again, _ := d.request(t, plan, url.Values{})
	assert.Equal(t, rotation, again)
	assert.Empty(t, f.log, "a plan is carried out once")
	d.signals <- os.Interrupt
	assert.Zero(t, <-d.code)
	assert.Contains(t, d.errOut.String(), "stopping; press Ctrl-C again to stop at once\n")
	assert.NotContains(t, d.errOut.String(), "error:")
}
