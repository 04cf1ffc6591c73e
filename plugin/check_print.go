package plugin

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

var checkColumns = []column{
	{name: "Node"}, {name: "Service"}, {name: "Certificate"}, {name: "Expires"}, {name: "Residual"},
	{name: "CA"}, {name: "Served"}, {name: "Status"},
	{"Reason", true}, {"Key", true}, {"SANs", true}, {"Serial", true}, {"SHA256", true}, {"Path", true},
}

var authorityColumns = []column{
	{name: "Certificate authority"}, {name: "Expires"}, {name: "Residual"}, {name: "Key on"}, {name: "Status"},
	{"Serial", true}, {"SHA256", true},
}

// printList prints a list of certificates in any format.
func printList(w io.Writer, f format, list v1alpha1.CertificateList, now time.Time) error {
	switch f {
	case formatJSON, formatYAML:
		return printDocument(w, f, list)
	case formatName:
		for _, c := range list.Items {
			fmt.Fprintf(w, "%s/%s/%s\n", c.Node, c.Service, c.Name)
		}
		return nil
	}
	if len(list.Items) > 0 {
		if err := printTable(w, f, checkColumns, checkRows(list.Items, now)); err != nil {
			return err
		}
	}
	if len(list.Authorities) > 0 {
		fmt.Fprintln(w)
		if err := printTable(w, f, authorityColumns, authorityRows(list.Authorities, now)); err != nil {
			return err
		}
	}
	printNotInspected(w, list.NotInspected)
	printUnused(w, f, list.Unused, now)
	inMemory := func(x v1alpha1.Finding) bool { return x.Kind == string(inventory.Memory) }
	printFindings(w, f, "Certificates in memory, which a restart renews",
		slices.DeleteFunc(slices.Clone(list.Findings), func(x v1alpha1.Finding) bool { return !inMemory(x) }))
	printFindings(w, f, "Drift, which no rotation changes", slices.DeleteFunc(slices.Clone(list.Findings), inMemory))
	return nil
}

// printFindings lists findings of one kind; only the wide format lists more than maxHints.
func printFindings(w io.Writer, f format, title string, found []v1alpha1.Finding) {
	if len(found) == 0 {
		return
	}
	width := 0
	for _, x := range found {
		width = max(width, len(x.Node))
	}
	fmt.Fprintln(w, "\n"+title)
	for i, x := range found {
		if i == maxHints && f != formatWide {
			fmt.Fprintf(w, "  and %d more: -o wide lists all\n", len(found)-maxHints)
			return
		}
		fmt.Fprintf(w, "  %-*s  %s: %s\n", width, x.Node, cleanText(x.Path), cleanText(x.Message))
	}
}

func checkRows(items []v1alpha1.Certificate, now time.Time) [][]string {
	rows := make([][]string, 0, len(items))
	for _, c := range items {
		rows = append(rows, []string{
			c.Node, string(c.Service), c.Name, utcMinute(c.NotAfter), residualTime(c.NotAfter, now),
			commonName(c.Issuer), servedWord(c), statusWord(c.Status),
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
		keyOn := someNames(a.KeyOn)
		if keyOn == "" {
			keyOn = "none of these nodes"
		}
		status := statusWord(a.Status)
		if a.Renewed {
			status = "RENEWED"
		}
		rows = append(rows, []string{
			a.Name, utcMinute(a.NotAfter), residualTime(a.NotAfter, now), keyOn, status,
			a.SerialNumber, a.FingerprintSHA256,
		})
	}
	return rows
}

// printNotInspected lists the items that could not be inspected.
func printNotInspected(w io.Writer, items []v1alpha1.NotInspected) {
	if len(items) == 0 {
		return
	}
	width := 0
	for _, x := range items {
		width = max(width, len(nodeOrService(x)))
	}
	fmt.Fprintln(w, "\nNot inspected")
	for _, x := range items {
		what := cleanText(x.Reason)
		if x.Path != "" {
			what = cleanText(x.Path) + ": " + what
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
		return nothing
	}
	return remainingTime(t.Sub(now))
}

// servedWord says whether the certificate on disk is the one that is served.
func servedWord(c v1alpha1.Certificate) string {
	switch {
	case c.Served == nil:
		return nothing
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
