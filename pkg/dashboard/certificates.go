package dashboard

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/reported"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// windowSize is the number of certificates that a page lists at a time: a browser draws 200 rows
// at once, and 10,000 only after seconds.
const windowSize = 200

// certificateFilter is the part of the address that says which certificates are listed.
type certificateFilter struct {
	Text    string
	Service string
	Node    string
	Status  string
	Sort    string // end, node or service
	Page    int    // from 1
}

func readCertificateFilter(query url.Values) certificateFilter {
	f := certificateFilter{Text: query.Get("q"), Service: query.Get("service"), Node: strings.TrimSpace(query.Get("node")),
		Status: query.Get("status"), Sort: query.Get("sort")}
	if f.Sort != "node" && f.Sort != "service" {
		f.Sort = "end"
	}
	f.Page, _ = strconv.Atoi(query.Get("page"))
	f.Page = max(1, f.Page)
	return f
}

// addressOf is the address of the list with another window or order.
func (f certificateFilter) addressOf(path string) string {
	query := url.Values{}
	for _, field := range []struct{ name, value string }{
		{"q", f.Text}, {"service", f.Service}, {"node", f.Node}, {"status", f.Status}, {"sort", f.Sort}, {"page", strconv.Itoa(f.Page)},
	} {
		if field.value != "" {
			query.Set(field.name, field.value)
		}
	}
	return path + "?" + query.Encode() + "#certificates"
}

// certificateTable is one window of the certificates that match the filter.
type certificateTable struct {
	Filter   certificateFilter
	Services []certs.Service
	Nodes    []string // for the filter; empty where there are too many
	Statuses []string
	Rows     []certificateRow
	Total    int // of the cluster
	Matching int
	First    int // number of the first row, from 1
	Last     int
	Earlier  string // addresses; empty: there is none
	Later    string
	SortBy   map[string]string
}

// certificateRow is a certificate as the table shows it.
type certificateRow struct {
	v1alpha1.Certificate
	Condition condition
	Word      string
	Remaining string
	CA        string
	Served    string
	Mark      string // address of the page that marks it as compromised
}

// manyNodes is the number of nodes up to which forms list them by name.
const manyNodes = 60

func newCertificateTable(items []v1alpha1.Certificate, f certificateFilter, path string, now time.Time) certificateTable {
	out := certificateTable{Filter: f, Services: certs.Services(), Total: len(items), SortBy: map[string]string{}}
	if names := nodesOf(items); len(names) <= manyNodes {
		out.Nodes = names
	}
	for _, status := range []certs.Status{certs.OK, certs.Expiring, certs.Expired, certs.NotYetValid, certs.Invalid, certs.NotServed, reported.StatusUnknown} {
		out.Statuses = append(out.Statuses, string(status))
	}
	matching := make([]*v1alpha1.Certificate, 0, len(items))
	for i := range items {
		if f.matchCertificate(&items[i], now) {
			matching = append(matching, &items[i])
		}
	}
	slices.SortStableFunc(matching, f.compareCertificates)
	out.Matching = len(matching)
	pages := max(1, (len(matching)+windowSize-1)/windowSize)
	f.Page = min(f.Page, pages)
	begin := (f.Page - 1) * windowSize
	end := min(begin+windowSize, len(matching))
	for _, c := range matching[begin:end] {
		out.Rows = append(out.Rows, newCertificateRow(*c, path, now))
	}
	out.First = min(begin+1, end)
	out.Last = end
	out.addAddresses(f, path, pages)
	return out
}

func (t *certificateTable) addAddresses(f certificateFilter, path string, pages int) {
	other := f
	if f.Page > 1 {
		other.Page = f.Page - 1
		t.Earlier = other.addressOf(path)
	}
	if f.Page < pages {
		other.Page = f.Page + 1
		t.Later = other.addressOf(path)
	}
	for _, order := range []string{"end", "node", "service"} {
		other = f
		other.Page = 1
		other.Sort = order
		t.SortBy[order] = other.addressOf(path)
	}
}

func newCertificateRow(c v1alpha1.Certificate, path string, now time.Time) certificateRow {
	status := statusNow(c.Status, c.NotAfter, now)
	row := certificateRow{Certificate: c, Condition: conditionOf(status), Word: statusWord(status), Remaining: printers.Nothing,
		CA: certs.CommonName(c.Issuer), Served: printers.ServedWord(c)}
	if !c.NotAfter.IsZero() {
		row.Remaining = printers.RemainingTime(c.NotAfter.Sub(now))
	}
	mark := url.Values{"service": {string(c.Service)}, "node": {c.Node}, "fingerprint": {c.FingerprintSHA256}}
	row.Mark = path + "/mark?" + mark.Encode()
	return row
}

func (f certificateFilter) matchCertificate(c *v1alpha1.Certificate, now time.Time) bool {
	switch {
	case f.Service != "" && string(c.Service) != f.Service:
		return false
	case f.Node != "" && c.Node != f.Node:
		return false
	case f.Status != "" && string(statusNow(c.Status, c.NotAfter, now)) != f.Status:
		return false
	case f.Text == "":
		return true
	}
	text := strings.ToLower(strings.TrimSpace(f.Text))
	for _, field := range []string{c.Name, c.Node, c.Path, c.Subject, c.Issuer, c.SerialNumber, c.FingerprintSHA256, c.Reason, strings.Join(c.SANs, " ")} {
		if strings.Contains(strings.ToLower(field), text) {
			return true
		}
	}
	return false
}

func (f certificateFilter) compareCertificates(a, b *v1alpha1.Certificate) int {
	switch f.Sort {
	case "node":
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(serviceRank(a.Service), serviceRank(b.Service)))
	case "service":
		return cmp.Or(cmp.Compare(serviceRank(a.Service), serviceRank(b.Service)), cmp.Compare(a.Node, b.Node))
	}
	return cmp.Or(a.NotAfter.Compare(b.NotAfter), cmp.Compare(a.Node, b.Node))
}

func serviceRank(s certs.Service) int { return slices.Index(certs.Services(), s) }

// nodesOf are the nodes of a list, sorted.
func nodesOf(items []v1alpha1.Certificate) []string {
	seen := map[string]bool{}
	var out []string
	for i := range items {
		if name := items[i].Node; !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
