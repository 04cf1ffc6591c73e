package dashboard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// runningRotation is a server with a rotation that waits for the channel.
func runningRotation(t *testing.T, proceed <-chan struct{}) (*browser, string) {
	t.Helper()
	cluster := newRecordingCluster(proceed)
	ts := startServer(t, fixedOptions(oneCluster(&cluster.fakeCluster)))
	b := ts.signIn()
	page := b.save(b.plan("/clusters/prod"))
	b.awaitPage(page, "restarting etcd")
	return b, page
}

func TestRotationPageShowsProgressAndReport(t *testing.T) {
	proceed := make(chan struct{})
	b, page := runningRotation(t, proceed)
	a := b.get(page)
	assert.Contains(t, a.body, "9 certificates signed", "a late reader sees it from the beginning")
	assert.Contains(t, a.body, "data-stream")
	assert.Contains(t, a.body, ">Stop<")
	close(proceed)
	a = b.awaitPage(page, "succeeded")
	for _, want := range []string{"2026-12-09 03:00 UTC", "2027-11-30 03:00 UTC", "Handshake: 127.0.0.1:2379 serves it", "One old kubeconfig", "yes, 1.2s unavailable"} {
		assert.Contains(t, a.body, want)
	}
	assert.NotContains(t, a.body, "data-stream", "the page asks for nothing anymore")
	assert.NotContains(t, a.body, ">Stop<")
}

func TestStopInterrupts(t *testing.T) {
	b, page := runningRotation(t, make(chan struct{}))
	assert.Equal(t, http.StatusSeeOther, b.post(page+"/stop", "").status)
	assert.Contains(t, b.awaitPage(page, "interrupted").body, fleet.ErrInterrupted.Error())
	assert.Empty(t, b.server.Running())
}

func TestRotationOfTheWatcherIsNotInterrupted(t *testing.T) {
	r := newRotation(&plannedRotation{Plan: &Plan{ByWatcher: true}, run: runOf(make(chan struct{}))}, testNow)
	r.interrupt(fleet.ErrInterrupted)
	r.report, r.err = r.runPlan(time.Now)
	r.ended = testNow
	assert.Equal(t, "not followed any more", r.viewOutcome().Word, "the watcher continues it")
}

func TestEveryEndReleasesTheCluster(t *testing.T) {
	for name, test := range map[string]struct {
		run  runFunction
		want string
	}{
		"panic": {func(context.Context, func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
			panic("index out of range")
		}, "internal error: index out of range"},
		"no report, no error": {func(context.Context, func(fleet.Progress)) (*v1alpha1.RotationReport, error) { return nil, nil }, "ended without a report"},
		"no report": {func(context.Context, func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
			return nil, hint.AddTo(errors.New("acquire the lock: held by alice"), "wait for it")
		}, "held by alice"},
		"rolled back": {func(context.Context, func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
			return &v1alpha1.RotationReport{Result: v1alpha1.RolledBack}, fmt.Errorf("cp3: etcd did not become healthy: %w", fleet.ErrStopped)
		}, "failed and rolled back"},
		"unknown": {func(context.Context, func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
			return &v1alpha1.RotationReport{Result: v1alpha1.Failed}, fmt.Errorf("cp3: %w", fleet.ErrManualInterventionRequired)
		}, "manual intervention required"},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := &fakeCluster{plan: func(_ context.Context, c Choice) (Plan, error) { return samplePlan(c, test.run), nil }}
			ts := startServer(t, fixedOptions(oneCluster(cluster)))
			b := ts.signIn()
			page := b.save(b.plan("/clusters/prod"))
			b.awaitPage(page, test.want)
			assert.Empty(t, ts.Running())
			assert.Contains(t, b.get(page+"/events").body, "event: end")
			b.plan("/clusters/prod")
		})
	}
}

// readStream reads events until the stream ends or a number of lines has come.
func readStream(t *testing.T, b *browser, path, lastID string, most int) []string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.server.address+b.server.full(path), nil)
	require.NoError(t, err)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	response, err := b.client.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	require.Equal(t, http.StatusOK, response.StatusCode)
	assert.Equal(t, "text/event-stream", response.Header.Get("Content-Type"))
	var ids []string
	for lines := bufio.NewScanner(response.Body); len(ids) < most && lines.Scan(); {
		if id, is := strings.CutPrefix(lines.Text(), "id: "); is {
			ids = append(ids, id)
		}
		if lines.Text() == "event: end" {
			ids = append(ids, "end")
		}
	}
	return ids
}

func TestStreamResumesWithoutRepeating(t *testing.T) {
	proceed := make(chan struct{})
	b, page := runningRotation(t, proceed)
	assert.Equal(t, []string{"1", "2"}, readStream(t, b, page+"/events", "", 2))
	read := make(chan []string, 1)
	go func() { read <- readStream(t, b, page+"/events?after=0", "2", 99) }()
	close(proceed)
	assert.Equal(t, []string{"3", "4", "5", "end"}, <-read)
	assert.Equal(t, []string{"end"}, readStream(t, b, page+"/events?after=5", "", 99))
	assert.Equal(t, http.StatusBadRequest, b.get(page+"/events?after=x").status)
	assert.Equal(t, http.StatusOK, b.send(http.MethodHead, page+"/events", nil, nil).status)
}

func TestLogsAreBounded(t *testing.T) {
	log := newProgressLog()
	for i := range keptEvents + 10 {
		log.addEvent(fleet.Progress{Node: "cp1", Text: fmt.Sprint(i), Done: true}, testNow)
	}
	assert.LessOrEqual(t, len(log.events), keptEvents)
	part := log.eventsAfter(1, 10)
	assert.True(t, part.Missing, "the page has to be read again")
	assert.Equal(t, "event: again\ndata: {}\n\n", string(streamText(part)))
	view := log.viewLog()
	assert.Equal(t, keptEvents+10, view.Last)
	assert.Equal(t, view.Last, view.Dropped+len(log.events))
	assert.Len(t, log.eventsAfter(view.Last-3, 10).Events, 3)
}

// TestSlowReadersHoldUpNothing opens as many streams as there may be, reads none of them, and has
// the rotation write far more than a connection buffers.
func TestSlowReadersHoldUpNothing(t *testing.T) {
	opened := make(chan struct{})
	cluster := &fakeCluster{plan: func(_ context.Context, c Choice) (Plan, error) {
		return samplePlan(c, func(_ context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
			<-opened
			for i := range 2000 {
				progress(fleet.Progress{Node: "cp1", Phase: fleet.PhaseVerified, Text: fmt.Sprint(i, strings.Repeat("x", 2000)), Done: true})
			}
			return &v1alpha1.RotationReport{Result: v1alpha1.Succeeded}, nil
		}), nil
	}}
	ts := startServer(t, fixedOptions(oneCluster(cluster)))
	b := ts.signIn()
	page := b.save(b.plan("/clusters/prod"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.client.Transport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			err = conn.(*net.TCPConn).SetReadBuffer(4096) // so that a connection is soon full
		}
		return conn, err
	}}
	for range maxStreams {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ts.address+ts.full(page+"/events"), nil)
		require.NoError(t, err)
		response, err := b.client.Do(r)
		require.NoError(t, err)
		defer response.Body.Close()
	}
	refused := b.get(page + "/events")
	assert.Equal(t, http.StatusServiceUnavailable, refused.status)
	assert.Equal(t, "5", refused.header.Get("Retry-After"))
	close(opened)
	require.Eventually(t, func() bool { return len(ts.Running()) == 0 }, 40*time.Second, time.Millisecond, "readers were waited for")
	assert.NotEmpty(t, ts.streams, "every stream was sent to its end: this test shows nothing")
	cancel()
	require.Eventually(t, func() bool { return len(ts.streams) == 0 }, 40*time.Second, time.Millisecond, "their places are not free")
}

// TestOutcomesAreSaidAsTheCommandSaysThem: with its word, its condition, and a part of its text.
func TestOutcomesAreSaidAsTheCommandSaysThem(t *testing.T) {
	succeeded := func(change func(*v1alpha1.RotationReport)) *v1alpha1.RotationReport {
		report, err := runOf(nil)(t.Context(), func(fleet.Progress) {})
		require.NoError(t, err)
		if change != nil {
			change(report)
		}
		return report
	}
	for name, tt := range map[string]struct {
		report    *v1alpha1.RotationReport
		err       error
		byWatcher bool
		word      string
		condition condition
		text      string
	}{
		"success": {report: succeeded(nil), word: "succeeded", condition: healthy, text: "Done in 12s: 3 certificates renewed and verified"},
		"a certificate was left out": {report: succeeded(func(r *v1alpha1.RotationReport) { r.LeftOut = []v1alpha1.LeftOut{{Node: "cp3", Name: "admin"}} }),
			word: "done, but something was left out", condition: attention, text: "3 certificates renewed and verified, but 1 certificate was left out"},
		"a node was not inspected": {report: succeeded(func(r *v1alpha1.RotationReport) {
			r.NotInspected = []v1alpha1.NotInspected{{Node: "w7", Reason: "NotReady"}}
		}),
			word: "done, but something was left out", condition: attention, text: "but 1 item was not inspected"},
		"success of the watcher": {report: &v1alpha1.RotationReport{Result: v1alpha1.Succeeded, Message: "9 certificates renewed"}, byWatcher: true,
			word: "succeeded", condition: healthy, text: "9 certificates renewed"},
		"nothing has begun": {err: hint.AddTo(fmt.Errorf("%w: held by alice", ErrNotBegun), "wait"), word: "not begun", condition: unknown, text: "held by alice"},
		"not followed": {err: fmt.Errorf("%w: the API server does not answer", ErrNotFollowed), byWatcher: true,
			word: "not followed any more", condition: attention, text: "does not answer"},
		"no report": {err: errors.New("no answer"), word: "ended without a report", condition: expired, text: "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRotation(&plannedRotation{Plan: &Plan{ByWatcher: tt.byWatcher}}, testNow)
			r.report = tt.report
			r.err = tt.err
			r.ended = testNow.Add(12 * time.Second)
			out := r.viewOutcome()
			assert.Equal(t, tt.word, out.Word)
			assert.Equal(t, tt.condition, out.Condition)
			assert.Contains(t, out.Text, tt.text)
		})
	}
}

// TestFollowingTheWatcherCanBeStopped: the cluster is then free for another plan.
func TestFollowingTheWatcherCanBeStopped(t *testing.T) {
	lines := make(chan string, 10)
	cluster := &fakeCluster{plan: func(_ context.Context, c Choice) (Plan, error) {
		p := samplePlan(c, runOf(make(chan struct{})))
		p.ByWatcher = true
		return p, nil
	}}
	options := fixedOptions(oneCluster(cluster))
	options.Report = func(line string) { lines <- line }
	b := startServer(t, options).signIn()
	page := b.save(b.plan("/clusters/prod"))
	a := b.awaitPage(page, "restarting etcd")
	assert.NotContains(t, a.body, ">Stop<")
	assert.Contains(t, a.body, ">Stop following<")
	assert.Contains(t, a.body, "kubectl delete certificaterotation")
	assert.Equal(t, http.StatusSeeOther, b.post(page+"/stop", "").status)
	b.awaitPage(page, "not followed any more")
	assert.Empty(t, b.server.Running())
	b.plan("/clusters/prod")
	<-lines
	assert.Contains(t, <-lines, "rotation not followed any more")
}

func TestErrorsKeepTheirLines(t *testing.T) {
	text, next := errorParts(hint.AddTo(errors.New("cp1: etcd did not become healthy\n   why: it exited\n   next: read its \x1blog"), "fix it\nthen continue"))
	assert.Equal(t, "cp1: etcd did not become healthy\n   why: it exited\n   next: read its  log", text)
	assert.Equal(t, "fix it\nthen continue", next)
}
