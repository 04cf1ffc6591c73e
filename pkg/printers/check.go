package printers

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

var checkColumns = []Column{
	{Name: "Node"}, {Name: "Service"}, {Name: "Certificate"}, {Name: "Expires"}, {Name: "Residual"},
	{Name: "CA"}, {Name: "Served"}, {Name: "Status"},
	{Name: "Reason", Wide: true}, {Name: "Key", Wide: true}, {Name: "SANs", Wide: true}, {Name: "Serial", Wide: true}, {Name: "SHA256", Wide: true}, {Name: "Path", Wide: true},
}

var authorityColumns = []Column{
	{Name: "Certificate authority"}, {Name: "Expires"}, {Name: "Residual"}, {Name: "Key on"}, {Name: "Status"},
	{Name: "Serial", Wide: true}, {Name: "SHA256", Wide: true},
}

// PrintCertificates prints a list of certificates in any format.
func PrintCertificates(w io.Writer, f Format, list v1alpha1.CertificateList, now time.Time) error {
	switch {
	case f.IsDocument():
		return PrintDocument(w, f, list)
	case f == Name:
		for _, c := range list.Items {
			fmt.Fprintf(w, "%s/%s/%s\n", c.Node, c.Service, c.Name)
		}
		return nil
	}
	if len(list.Items) > 0 {
		if err := PrintTable(w, f, checkColumns, checkRows(list.Items, now)); err != nil {
			return err
		}
	}
	if len(list.Authorities) > 0 {
		fmt.Fprintln(w)
		if err := PrintTable(w, f, authorityColumns, authorityRows(list.Authorities, now)); err != nil {
			return err
		}
	}
	PrintNotInspected(w, list.NotInspected)
	printUnused(w, f, list.Unused, now)
	inMemory := func(x v1alpha1.Finding) bool { return x.Kind == string(inventory.Memory) }
	printFindings(w, f, "Certificates in memory, which a restart renews",
		slices.DeleteFunc(slices.Clone(list.Findings), func(x v1alpha1.Finding) bool { return !inMemory(x) }))
	printFindings(w, f, "Drift, which no rotation changes", slices.DeleteFunc(slices.Clone(list.Findings), inMemory))
	return nil
}

// printFindings lists findings of one kind; only the wide format lists more than MaxHints.
func printFindings(w io.Writer, f Format, title string, found []v1alpha1.Finding) {
	if len(found) == 0 {
		return
	}
	width := 0
	for _, x := range found {
		width = max(width, len(x.Node))
	}
	fmt.Fprintln(w, "\n"+title)
	for i, x := range found {
		if i == MaxHints && f != Wide {
			fmt.Fprintf(w, "  and %d more: -o wide lists all\n", len(found)-MaxHints)
			return
		}
		fmt.Fprintf(w, "  %-*s  %s: %s\n", width, x.Node, CleanText(x.Path), CleanText(x.Message))
	}
}

func checkRows(items []v1alpha1.Certificate, now time.Time) [][]string {
	rows := make([][]string, 0, len(items))
	for _, c := range items {
		rows = append(rows, []string{
			c.Node, string(c.Service), c.Name, UTCMinute(c.NotAfter), residualTime(c.NotAfter, now),
			certs.CommonName(c.Issuer), ServedWord(c), statusWord(c.Status),
			problemText(c), c.KeyAlgorithm, strings.Join(c.SANs, ","), c.SerialNumber, c.FingerprintSHA256, c.Path,
		})
	}
	return rows
}

// problemText describes the problem of a certificate, and why it cannot be renewed.
func problemText(c v1alpha1.Certificate) string {
	switch {
	case strings.Contains(c.Reason, c.NotRenewable):
		return c.Reason
	case strings.Contains(c.NotRenewable, c.Reason):
		return c.NotRenewable
	}
	return c.Reason + "; not renewable: " + c.NotRenewable
}

func authorityRows(authorities []v1alpha1.Authority, now time.Time) [][]string {
	rows := make([][]string, 0, len(authorities))
	for _, a := range authorities {
		keyOn := cmp.Or(SomeNames(a.KeyOn), "none of these nodes")
		status := statusWord(a.Status)
		if a.Renewed {
			status = "RENEWED"
		}
		rows = append(rows, []string{
			a.Name, UTCMinute(a.NotAfter), residualTime(a.NotAfter, now), keyOn, status,
			a.SerialNumber, a.FingerprintSHA256,
		})
	}
	return rows
}

// PrintNotInspected lists the items that could not be inspected.
func PrintNotInspected(w io.Writer, items []v1alpha1.NotInspected) {
	if len(items) == 0 {
		return
	}
	width := 0
	for _, x := range items {
		width = max(width, len(nodeOrService(x)))
	}
	fmt.Fprintln(w, "\nNot inspected")
	for _, x := range items {
		what := CleanText(x.Reason)
		if x.Path != "" {
			what = CleanText(x.Path) + ": " + what
		}
		if x.Service != "" && x.Node != "" {
			what = string(x.Service) + ": " + what
		}
		fmt.Fprintf(w, "  %-*s  %s\n", width, nodeOrService(x), what)
	}
}

func nodeOrService(x v1alpha1.NotInspected) string {
	if x.Node == "" {
		return string(x.Service)
	}
	return x.Node
}

func residualTime(t, now time.Time) string {
	if t.IsZero() {
		return Nothing
	}
	return RemainingTime(t.Sub(now))
}

// ServedWord says whether the certificate on disk is the one that is served.
func ServedWord(c v1alpha1.Certificate) string {
	switch {
	case c.Served == nil:
		return Nothing
	case c.Served.FingerprintSHA256 == "":
		return "no answer"
	case c.Served.FingerprintSHA256 == c.FingerprintSHA256:
		return "yes"
	default:
		return "no"
	}
}

func statusWord(s certs.Status) string {
	switch s {
	case certs.NotServed:
		return "NOT SERVED"
	case certs.NotYetValid:
		return "NOT YET VALID"
	default:
		return strings.ToUpper(string(s))
	}
}
