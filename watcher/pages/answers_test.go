package pages

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// askingPage is the page of jane in the cluster prod, and the summaries of the others.
type askingPage struct {
	t      *testing.T
	now    time.Time
	stored []bus.StoredSummary
	jane   *visitor
	joe    *visitor
	sent   int // requests
}

func newAskingPage(t *testing.T) *askingPage {
	t.Helper()
	p := &askingPage{t: t, now: noon}
	s := newAPIServer(t, map[string][]string{"jane": append([]string{"ask certificaterotations"}, viewer...), "joe": nil})
	source, _ := newSource(t, s, func(source *Source) {
		source.Now = func() time.Time { return p.now }
		source.OtherClusters = NewOtherClusters("prod", p, source.Now)
	})
	hosted := dashboard.NewHosted(dashboard.HostedOptions{Users: source, Version: "v0.9.0", Now: source.Now})
	server := httptest.NewServer(hosted)
	t.Cleanup(server.Close)
	t.Cleanup(hosted.Close)
	p.share("staging")
	p.share("test")
	p.jane = newVisitor(t, server.URL)
	_, _, _ = p.jane.post("/sign-in", "token=token-of-jane")
	p.joe = newVisitor(t, server.URL)
	_, _, _ = p.joe.post("/sign-in", "token=token-of-joe")
	return p
}

// ReadSummaries implements Sharing.
func (p *askingPage) ReadSummaries(context.Context) ([]bus.StoredSummary, error) {
	return p.stored, nil
}

// AskRotation implements Sharing.
func (p *askingPage) AskRotation(context.Context, string, event.RotationAsked) (string, error) {
	p.sent++
	return fmt.Sprint("id-", p.sent), nil
}

// share replaces the summary of a cluster.
func (p *askingPage) share(cluster string, answers ...v1alpha1.SummaryAnswer) {
	p.t.Helper()
	one := summaryOf(p.t, cluster, func(s *v1alpha1.ClusterSummary) { s.Answers = answers })
	one.Written = p.now
	for i := range p.stored {
		if p.stored[i].Token == one.Token {
			p.stored[i] = one
			return
		}
	}
	p.stored = append(p.stored, one)
}

// askFor asks a cluster for a rotation of etcd.
func (p *askingPage) askFor(cluster string) {
	p.t.Helper()
	_, _, body := p.jane.post("/ask?cluster="+cluster, "service=etcd")
	require.Contains(p.t, body, fmt.Sprintf("The request is id-%d", p.sent))
}

// rows are the requests on the page after a while, the newest first.
func (p *askingPage) rows(after time.Duration) []string {
	p.t.Helper()
	p.now = p.now.Add(after)
	_, _, body := p.jane.get("/")
	_, section, _ := strings.Cut(body, "<h2>Rotations asked for in other clusters</h2>")
	var out []string
	for _, row := range strings.Split(section, `<th scope="row">`)[1:] {
		row, _, _ = strings.Cut(row, "</tr>")
		out = append(out, row)
	}
	return out
}

// answerTo is an answer to a request of prod.
func answerTo(id, refused string, state v1alpha1.RotationState) v1alpha1.SummaryAnswer {
	return v1alpha1.SummaryAnswer{Request: event.AskedName("prod", id), Refused: refused, State: state, At: noon}
}

func TestRequestIsShownUntilItHasAnAnswer(t *testing.T) {
	p := newAskingPage(t)
	require.Empty(t, p.rows(0))
	p.askFor("staging")
	p.askFor("test")
	rows := p.rows(10 * time.Second)
	require.Len(t, rows, 2)
	assert.Contains(t, rows[0], "test <small>")
	assert.Contains(t, rows[1], "staging <small>")
	assert.Contains(t, rows[1], ">etcd<")
	assert.Contains(t, rows[1], ">jane<")
	for _, row := range rows {
		assert.Contains(t, row, "<b>waiting</b> for an answer of its watcher")
	}

	p.share("staging", answerTo("id-1", "the policy is notify-only", ""))
	p.share("test", answerTo("id-2", "", ""))
	rows = p.rows(10 * time.Second)
	assert.Contains(t, rows[0], "<b>taken</b> CertificateRotation "+event.AskedName("prod", "id-2")+", not started <small>by its summary of 2030-05-17 12:00 UTC")
	assert.Contains(t, rows[1], "<b>refused</b> the policy is notify-only<")
	p.share("test", answerTo("id-2", "", v1alpha1.StateRolledBack))
	rows = p.rows(10 * time.Second)
	assert.Contains(t, rows[0], ", RolledBack<")
	p.share("test", answerTo("id-2", "", "Later"))
	assert.Contains(t, p.rows(10 * time.Second)[0], "in a state that this release does not know")

	p.share("test")
	p.share("staging")
	rows = p.rows(v1alpha1.AnswersWithin)
	assert.Contains(t, rows[0], "<b>taken</b>", "the summary has later answers")
	assert.Contains(t, rows[1], "<b>refused</b>")

	_, _, body := p.joe.get("/")
	assert.NotContains(t, body, "Rotations asked for", "without the permission to see this cluster")
	p.now = p.now.Add(v1alpha1.AnswersKept)
	_, _, body = p.jane.post("/sign-in", "token=token-of-jane")
	assert.Contains(t, body, "<h2>Other clusters</h2>")
	assert.NotContains(t, body, "Rotations asked for", "after a day")
}

// TestWatcherThatRecordsNoAnswerHasNotRefused: one of an earlier release, or one that does not run.
func TestWatcherThatRecordsNoAnswerHasNotRefused(t *testing.T) {
	p := newAskingPage(t)
	p.askFor("staging")
	assert.Contains(t, p.rows(v1alpha1.AnswersWithin - time.Second)[0], "<b>waiting</b>")
	row := p.rows(time.Second)[0]
	assert.Contains(t, row, "<b>no answer</b> after 12 minutes")
	assert.Contains(t, row, event.AskedName("prod", "id-1"))
	assert.NotContains(t, row, "<b>refused</b>")
	p.share("staging", answerTo("id-1", "published 31m0s ago, more than 10m0s", ""))
	assert.Contains(t, p.rows(10 * time.Second)[0], "<b>refused</b> published 31m0s ago", "the watcher runs again")
}

// TestAnswersAreThoseOfTheAskedCluster, for requests of this one, and as text.
func TestAnswersAreThoseOfTheAskedCluster(t *testing.T) {
	p := newAskingPage(t)
	p.askFor("staging")
	p.share("test", answerTo("id-1", "forged by test", ""))
	ofAnother := answerTo("id-1", "not for prod", "")
	ofAnother.Request = event.AskedName("test", "id-1")
	p.share("staging", ofAnother)
	assert.Contains(t, p.rows(10 * time.Second)[0], "<b>waiting</b>")
	p.share("staging", answerTo("id-1", "<img src=x>\u202e\x1b\n"+strings.Repeat("x", 900), ""))
	row := p.rows(10 * time.Second)[0]
	assert.Contains(t, row, "<b>refused</b> &lt;img src=x&gt; xxx")
	assert.NotContains(t, row, strings.Repeat("x", shownText))
	assert.NotContains(t, row, "\u202e")

	for range asksKept + 5 {
		p.askFor("test")
	}
	rows := p.rows(10 * time.Second)
	require.Len(t, rows, asksKept)
	assert.Contains(t, rows[0], fmt.Sprintf("request id-%d<", p.sent))
}
