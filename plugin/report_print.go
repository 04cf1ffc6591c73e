package plugin

import (
	"fmt"
	"io"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

var reportColumns = []printers.Column{
	{Name: "Node"}, {Name: "Service"}, {Name: "Certificate"}, {Name: "Old expiry"}, {Name: "New expiry"},
	{Name: "Restarted"}, {Name: "Result"}, {Name: "Verified by"},
	{Name: "Serial", Wide: true}, {Name: "SHA256", Wide: true}, {Name: "Path", Wide: true},
}

// printReport prints the report of a rotation in any format.
func printReport(w io.Writer, f printers.Format, r *v1alpha1.RotationReport) error {
	switch f {
	case printers.JSON, printers.YAML:
		return printers.PrintDocument(w, f, r)
	case printers.Name:
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
		if err := printers.PrintTable(w, f, reportColumns, rows); err != nil {
			return err
		}
	}
	var without []bare
	for _, item := range r.Items {
		if item.Result == v1alpha1.NoCertificate {
			without = append(without, bare{item.Node, item.Service, item.Reason})
		}
	}
	for _, line := range withoutCertificate(without) {
		fmt.Fprintln(w, line)
	}
	for _, o := range r.Overridden {
		fmt.Fprintln(w, "Overridden by --force: "+printers.CleanText(o))
	}
	for _, c := range r.Collateral {
		fmt.Fprintf(w, "%s: %s %s\n", c.Node, c.Service, printers.CleanText(c.Reason))
	}
	for _, n := range r.Notes {
		fmt.Fprintln(w, printers.CleanText(n))
	}
	printers.PrintLeftOut(w, r.LeftOut, r.RollbackOf)
	printers.PrintNotInspected(w, r.NotInspected)
	return nil
}

func reportRows(r *v1alpha1.RotationReport, f printers.Format) [][]string {
	var rows [][]string
	for _, item := range r.Items {
		for i, c := range item.Certificates {
			row := []string{
				item.Node, string(item.Service), c.Name, printers.UTCMinute(c.Old.NotAfter), printers.Nothing,
				restartedText(item), resultWord(item, r.RollbackOf), printers.Nothing, c.Old.SerialNumber, c.Old.FingerprintSHA256, c.Path,
			}
			if c.New != nil {
				row[4] = printers.UTCMinute(c.New.NotAfter)
				row[8] = c.New.SerialNumber
				row[9] = c.New.FingerprintSHA256
				row[7] = verifiedBy(item, i, f)
			}
			rows = append(rows, row)
		}
		if len(item.Certificates) == 0 && item.Result != v1alpha1.NoCertificate {
			rows = append(rows, []string{item.Node, string(item.Service), printers.Nothing, printers.Nothing, printers.Nothing,
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
		return "yes, " + printers.ElapsedTime(time.Duration(item.UnavailableSeconds*float64(time.Second))) + " unavailable"
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
func verifiedBy(item v1alpha1.RotationItem, i int, f printers.Format) string {
	evidence := item.Evidence
	if i >= 0 && len(item.Certificates[i].Evidence) > 0 {
		evidence = item.Certificates[i].Evidence
	}
	if f == printers.Wide {
		return strings.Join(evidence, "; ")
	}
	var out []string
	for _, e := range evidence {
		method, _, _ := strings.Cut(e, ":")
		words, known := verifications[nodeapi.Method(method)]
		if !known {
			words = method
		}
		if !oneOf(out, words) {
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

// stillValid says until when the old certificates of a report remain valid; empty where
// none was renewed or all had expired.
func stillValid(r *v1alpha1.RotationReport, now time.Time) string {
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
	return fmt.Sprintf("Copies of the %s certificates remain valid, the last one until %s: Kubernetes cannot revoke them.", replacedWord(r.RollbackOf), printers.UTCDate(last))
}
