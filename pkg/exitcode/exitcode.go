// Package exitcode holds the exit codes of the programs, their meaning, and the table in
// docs/exit-codes.md.
package exitcode

import (
	"cmp"
	"fmt"
	"strings"
)

// The exit codes of everything but the checks.
const (
	Done                       = 0
	Failed                     = 1
	Stopped                    = 2
	Held                       = 3
	LeftOut                    = 4
	ManualInterventionRequired = 5
	Interrupted                = 130 // as shells report Ctrl-C
)

// The exit codes of "check" and "policy check", which change nothing.
const (
	OK        = 0
	Attention = 1
	NotJudged = 2
)

// Row is one exit code with its meanings.
type Row struct {
	Code int
	// Rotation is the short meaning for a rotation, and Detail what the document adds.
	Rotation, Detail string
	// Check is the meaning for "check" and "policy check"; empty: they do not use it.
	Check string
}

// Rows returns all exit codes, in ascending order.
func Rows() []Row {
	return []Row{
		{Done, "done and verified", "", "nothing needs attention"},
		{Failed, "error, nothing was changed", "wrong usage, refused, missing permissions, or the cluster is not reachable", "something needs attention"},
		{Stopped, "stopped, the failing node is as before", "nodes done before it keep their new, verified certificates", "could not be judged: wrong usage, an invalid policy, or no node could be scanned"},
		{Held, "another rotation holds the lock", "nothing was changed", ""},
		{LeftOut, "done, but something in scope was left out", "it could not be renewed or not be inspected; the output lists it", ""},
		{ManualInterventionRequired, "manual intervention required", "the state of a node is unknown or not verified; the output names the node and the next step", ""},
		{Interrupted, "interrupted", "the node in progress finished or rolled back first, unless Ctrl-C was pressed twice", "interrupted"},
	}
}

// Help returns the codes of a rotation as a help text lists them.
func Help() string {
	lines := []string{"Exit codes:"}
	for _, r := range Rows() {
		lines = append(lines, fmt.Sprintf("  %-4d %s", r.Code, r.Rotation))
	}
	return strings.Join(lines, "\n")
}

// Table returns the codes as a table in Markdown.
func Table() string {
	lines := []string{"| exit code | a rotation | `check`, `policy check` |", "|---|---|---|"}
	for _, r := range Rows() {
		meaning := r.Rotation
		if r.Detail != "" {
			meaning += ": " + r.Detail
		}
		lines = append(lines, fmt.Sprintf("| %d | %s | %s |", r.Code, meaning, cmp.Or(r.Check, "–")))
	}
	return strings.Join(lines, "\n") + "\n"
}
