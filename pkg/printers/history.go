package printers

import (
	"fmt"
	"io"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

var rotationColumns = []Column{
	{Name: "Rotation"}, {Name: "Started"}, {Name: "Took"}, {Name: "Services"}, {Name: "Nodes"}, {Name: "Renewed"}, {Name: "Result"},
	{Name: "Continue", Wide: true},
}

// PrintRotations prints a list of rotations in any format.
func PrintRotations(w io.Writer, f Format, list v1alpha1.RotationList) error {
	switch {
	case f.IsDocument():
		return PrintDocument(w, f, list)
	case f == Name:
		for _, p := range list.Items {
			fmt.Fprintln(w, CleanText(p.ID))
		}
		return nil
	}
	rows := make([][]string, 0, len(list.Items))
	for _, p := range list.Items {
		names := []string{}
		renewed := 0
		for _, n := range p.Nodes {
			names = append(names, n.Node)
			renewed = renewed + n.Renewed
		}
		rows = append(rows, []string{p.ID, ToTheSecond(p.StartTime), RotationTook(p), ScopeWords(p), SomeNames(names), CountOf(renewed, "certificate"), StandingWord(p.Result), p.Continue})
	}
	if len(rows) == 0 {
		fmt.Fprintln(w, "No rotation is recorded in the journals of the scanned nodes.")
	} else if err := PrintTable(w, f, rotationColumns, rows); err != nil {
		return err
	}
	PrintNotInspected(w, list.NotInspected)
	return nil
}

var recordColumns = []Column{
	{Name: "Node"}, {Name: "Time"}, {Name: "Record"}, {Name: "Service"}, {Name: "Details"},
}

// PrintHistory prints one rotation in any format; by name, the renewed certificates.
func PrintHistory(w io.Writer, f Format, h v1alpha1.RotationHistory, command string, now time.Time) error {
	switch {
	case f.IsDocument():
		return PrintDocument(w, f, h)
	case f == Name:
		for _, r := range h.Records {
			if r.Kind == string(nodeapi.Committed) {
				for _, c := range r.Certificates {
					fmt.Fprintln(w, CleanText(r.Node+"/"+c.Name))
				}
			}
		}
		return nil
	}
	fmt.Fprintln(w, CleanText(fmt.Sprintf("Rotation %s: %s, from %s: %s, after %s", h.ID, ScopeWords(h.PastRotation), ToTheSecond(h.StartTime), StandingWord(h.Result), RotationTook(h.PastRotation))))
	rows := make([][]string, 0, len(h.Records))
	for _, r := range h.Records {
		word := recordWord(nodeapi.Kind(r.Kind))
		if r.Unverified {
			word = strings.ToUpper(unverifiedWord(r.Kind))
		}
		rows = append(rows, []string{r.Node, r.Time.Format("15:04:05.000"), word, string(r.Service), recordDetails(r, f)})
	}
	if err := PrintTable(w, f, recordColumns, rows); err != nil {
		return err
	}
	for _, line := range NodesInWords(h.PastRotation) {
		fmt.Fprintln(w, CleanText(line))
	}
	for _, line := range NextSteps(h.PastRotation, command, now) {
		if line != "why: "+command+" history "+h.ID { // this is that output
			fmt.Fprintln(w, CleanText(line))
		}
	}
	PrintNotInspected(w, h.NotInspected)
	return nil
}

// recordWords are the printed kinds of records.
var recordWords = map[nodeapi.Kind]string{
	nodeapi.Staging: "staging", nodeapi.CSRPosted: "CSR posted", nodeapi.CSRNeeded: "signature by an administrator requested",
	nodeapi.Staged: "staged, nothing changed", nodeapi.CopyingEtcd: "copying etcd's data", nodeapi.EtcdCopied: "copy of etcd's data",
	nodeapi.Committing: "replacing files", nodeapi.Replaced: "files replaced",
	nodeapi.Restarting: "restarting", nodeapi.Waiting: "waiting", nodeapi.Restarted: "restarted", nodeapi.Verified: "verified", nodeapi.Committed: "COMMITTED AND VERIFIED",
	nodeapi.Failed: "FAILED, nothing changed", nodeapi.RollingBack: "ROLLING BACK", nodeapi.RolledBack: "ROLLED BACK AND VERIFIED",
	nodeapi.Unknown: "STATE UNKNOWN", nodeapi.Refused: "REFUSED", nodeapi.Finished: "rotation finished", nodeapi.Abandoned: "process ended",
}

func recordWord(k nodeapi.Kind) string {
	if words, known := recordWords[k]; known {
		return words
	}
	return string(k)
}

// recordDetails is the content of a record besides its kind; fingerprints only in the wide format.
func recordDetails(r v1alpha1.RotationRecord, f Format) string {
	var parts []string
	if len(r.Services) > 0 {
		parts = append(parts, JoinServices(r.Services, ", "))
	}
	for _, c := range r.Certificates {
		words := fmt.Sprintf("%s: %s → %s", c.Name, UTCDate(c.Old.NotAfter), UTCDate(c.New.NotAfter))
		if f == Wide {
			words = fmt.Sprintf("%s (%s → %s)", words, c.Old.FingerprintSHA256, c.New.FingerprintSHA256)
		}
		parts = append(parts, words)
	}
	if r.UnavailableSeconds > 0 {
		parts = append(parts, ElapsedTime(time.Duration(r.UnavailableSeconds*float64(time.Second)))+" unavailable")
	}
	for _, words := range []string{r.Evidence, r.Message, r.Hint} {
		if words != "" {
			parts = append(parts, words)
		}
	}
	return strings.Join(parts, "; ")
}
