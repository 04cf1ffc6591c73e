package dashboard

import (
	"fmt"
	"slices"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// AskedRotation is a rotation that a user of these pages has asked another cluster for.
type AskedRotation struct {
	ID       string // of the request
	Name     string // of the CertificateRotation, if the request is permitted
	Cluster  string
	Services []certs.Service
	User     string
	At       time.Time
	// Answer is that of the cluster, which is not trusted; nil: none was read.
	Answer *v1alpha1.SummaryAnswer
	AsOf   time.Time // when the summary with the answer was written, by the clock of NATS
}

// askedRow is a request and its answer.
type askedRow struct {
	AskedRotation
	Word    string // waiting, taken, refused or no answer
	Text    string
	Ongoing bool // the state of the rotation may change
}

// askedRowOf is the row of a request. No answer is not a refusal: the other watcher may be of a
// release that records none.
func askedRowOf(asked AskedRotation, now time.Time) askedRow {
	row := askedRow{AskedRotation: asked}
	answer := asked.Answer
	switch {
	case answer == nil && now.Sub(asked.At) < v1alpha1.AnswersWithin:
		row.Word = "waiting"
		row.Text = "for an answer of its watcher"
	case answer == nil:
		row.Word = "no answer"
		row.Text = fmt.Sprintf("after %d minutes: its watcher does not run or is of an earlier release, or newer answers have replaced this one. In that cluster, see CertificateRotation %s and Events RequestRefused",
			int(v1alpha1.AnswersWithin.Minutes()), asked.Name)
	case answer.Refused != "":
		row.Word = "refused"
		row.Text = answer.Refused
	default:
		row.Word = "taken"
		row.Text = "CertificateRotation " + asked.Name + ", " + stateWords(answer.State)
		row.Ongoing = !answer.State.IsEnd()
	}
	return row
}

// stateWords is a state in another cluster, which may have states that are not known here.
func stateWords(state v1alpha1.RotationState) string {
	switch {
	case state == "":
		return "not started"
	case state.IsEnd(), slices.Contains([]v1alpha1.RotationState{v1alpha1.StatePending, v1alpha1.StateSuspended, v1alpha1.StateRunning, v1alpha1.StateInterrupted}, state):
		return string(state)
	}
	return "in a state that this release does not know"
}
