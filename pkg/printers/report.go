package printers

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

var reportColumns = []Column{
	{Name: "Node"}, {Name: "Service"}, {Name: "Certificate"}, {Name: "Old expiry"}, {Name: "New expiry"},
	{Name: "Restarted"}, {Name: "Result"}, {Name: "Verified by"},
	{Name: "Serial", Wide: true}, {Name: "SHA256", Wide: true}, {Name: "Path", Wide: true},
}

// PrintReport prints the report of a rotation in any format.
func PrintReport(w io.Writer, f Format, r *v1alpha1.RotationReport) error {
	switch {
	case f.IsDocument():
		return PrintDocument(w, f, r)
	case f == Name:
		for _, item := range r.Items {
			for _, c := range item.Certificates {
				if c.New != nil {
					fmt.Fprintf(w, "%s/%s/%s\n", item.Node, item.Service, c.Name)
				}
			}
		}
		return nil
	}
	if rows := reportRows(r, f); len(rows) > 0 {
		if err := PrintTable(w, f, reportColumns, rows); err != nil {
			return err
		}
	}
	var without []NoCertificate
	for _, item := range r.Items {
		if item.Result == v1alpha1.NoCertificate {
			without = append(without, NoCertificate{Node: item.Node, Service: item.Service, Reason: item.Reason})
		}
	}
	for _, line := range WithoutCertificate(without) {
		fmt.Fprintln(w, line)
	}
	for _, o := range r.Overridden {
		fmt.Fprintln(w, "Overridden by --force: "+CleanText(o))
	}
	for _, c := range r.Collateral {
		fmt.Fprintf(w, "%s: %s %s\n", c.Node, c.Service, CleanText(c.Reason))
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, CleanText(n))
	}
	PrintLeftOut(w, r.LeftOut, r.RollbackOf)
	PrintNotInspected(w, r.NotInspected)
	return nil
}

func reportRows(r *v1alpha1.RotationReport, f Format) [][]string {
	var rows [][]string
	for _, item := range r.Items {
		for i, c := range item.Certificates {
			row := []string{
				item.Node, string(item.Service), c.Name, UTCMinute(c.Old.NotAfter), Nothing,
				restartedText(item), resultWord(item, r.RollbackOf), Nothing, c.Old.SerialNumber, c.Old.FingerprintSHA256, c.Path,
			}
			if c.New != nil {
				row[4] = UTCMinute(c.New.NotAfter)
				row[8] = c.New.SerialNumber
				row[9] = c.New.FingerprintSHA256
				row[7] = verifiedBy(item, i, f)
			}
			rows = append(rows, row)
		}
		if len(item.Certificates) == 0 && item.Result != v1alpha1.NoCertificate {
			rows = append(rows, []string{item.Node, string(item.Service), Nothing, Nothing, Nothing,
				restartedText(item), resultWord(item, r.RollbackOf), verifiedBy(item, -1, f), "", "", ""})
		}
	}
	return rows
}

// restartedText says whether the component was restarted, and how long it was unavailable.
func restartedText(item v1alpha1.RotationItem) string {
	switch {
	case !item.Restarted:
		return "no"
	case item.UnavailableSeconds > 0:
		return "yes, " + ElapsedTime(time.Duration(item.UnavailableSeconds*float64(time.Second))) + " unavailable"
	default:
		return "yes"
	}
}

// resultWord is a printed result, with the reason where it is not a success.
func resultWord(item v1alpha1.RotationItem, rollbackOf string) string {
	switch item.Result {
	case v1alpha1.Succeeded:
		if rollbackOf != "" {
			return "put back"
		}
		return "renewed"
	case v1alpha1.RolledBack:
		return "ROLLED BACK"
	case v1alpha1.Failed:
		return "FAILED"
	case v1alpha1.Skipped:
		if item.Reason != "" {
			return item.Reason
		}
		return "skipped"
	default:
		return string(item.Result)
	}
}

// verifiedBy is the verification of the item's i-th certificate; -1, or one that names none of
// its own, means the item's. Only the wide form has every detail.
func verifiedBy(item v1alpha1.RotationItem, i int, f Format) string {
	evidence := item.Evidence
	if i >= 0 && len(item.Certificates[i].Evidence) > 0 {
		evidence = item.Certificates[i].Evidence
	}
	if f == Wide {
		return strings.Join(evidence, "; ")
	}
	var out []string
	for _, e := range evidence {
		method, _, _ := strings.Cut(e, ":")
		words, known := verifications[nodeapi.Method(method)]
		if !known {
			words = method
		}
		if !slices.Contains(out, words) {
			out = append(out, words)
		}
	}
	return strings.Join(out, ", ")
}

// verifications describes the methods of verification.
var verifications = map[nodeapi.Method]string{
	nodeapi.Handshake:         "it is served",
	nodeapi.SelfSubjectReview: "the API server authenticates it",
	nodeapi.Authenticated:     "a server accepts it",
	nodeapi.Health:            "healthy after the restart",
	nodeapi.HotReload:         "re-read without a restart",
	nodeapi.FileOnly:          "on disk only",
}

// StillValid says until when the old certificates of a report remain valid; empty where
// none was renewed or all had expired.
func StillValid(r *v1alpha1.RotationReport, now time.Time) string {
	var last time.Time
	for _, item := range r.Items {
		for _, c := range item.Certificates {
			if c.New != nil && c.Old.NotAfter.After(last) {
				last = c.Old.NotAfter
			}
		}
	}
	if !last.After(now) {
		return ""
	}
	return fmt.Sprintf("Copies of the %s certificates remain valid, the last one until %s: Kubernetes cannot revoke them.", ReplacedWord(r.RollbackOf), UTCDate(last))
}

// ReplacedWord is the word for the certificates that a rotation replaces. Those that a
// rollback replaces are younger than those that it puts in place.
func ReplacedWord(rollbackOf string) string {
	if rollbackOf != "" {
		return "replaced"
	}
	return "old"
}

// OutcomeText summarizes a rotation that succeeded.
func OutcomeText(report *v1alpha1.RotationReport, elapsed time.Duration, policy plan.RestartPolicy) string {
	renewed := 0
	var running []certs.Service // not restarted, so they may use an old certificate
	for _, item := range report.Items {
		if item.Result != v1alpha1.Succeeded {
			continue
		}
		for _, c := range item.Certificates {
			if c.New != nil {
				renewed++
			}
		}
		if !item.Restarted && item.Service != certs.Admin && len(item.Certificates) > 0 {
			running = append(running, item.Service)
		}
	}
	done := "renewed"
	if report.RollbackOf != "" {
		done = "put back"
	}
	if renewed == 0 {
		return "Nothing to renew, nothing was changed"
	}
	if policy == plan.RestartNever && len(running) > 0 {
		return fmt.Sprintf("Done in %s: %s %s on disk, no component restarted. These may use the old certificates until they are restarted: %s",
			ElapsedTime(elapsed), CountOf(renewed, "certificate"), done, JoinServices(certs.SortServices(running), ", "))
	}
	return fmt.Sprintf("Done in %s: %s %s and verified", ElapsedTime(elapsed), CountOf(renewed, "certificate"), done)
}
