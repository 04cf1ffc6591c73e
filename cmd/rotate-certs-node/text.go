package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// output is the flag -o: "json", "text", or empty for text on a terminal and JSON elsewhere.
type output string

func (o *output) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP((*string)(o), "output", "o", "", "json (one record a line) or text (default: text on a terminal, else json)")
}

// recordWriter returns the writer for a rotation's records.
func (o output) recordWriter(w io.Writer) (io.Writer, error) {
	switch f, isFile := w.(*os.File); {
	case o == "text", o == "" && isFile && term.IsTerminal(int(f.Fd())):
		return &recordText{w: w}, nil
	case o == "json", o == "":
		return &lockedWriter{w: w}, nil
	default:
		return nil, fmt.Errorf("--output %q: want json or text", string(o))
	}
}

// recordText writes records, which it gets as lines of JSON, as text, and keeps them.
type recordText struct {
	w       io.Writer
	records []nodeapi.Record
	// rollback means that the rotation puts earlier certificates back.
	rollback bool
}

// Write implements [io.Writer]. Records come one by one.
func (w *recordText) Write(line []byte) (int, error) {
	var rec nodeapi.Record
	if err := json.Unmarshal(line, &rec); err != nil {
		return 0, fmt.Errorf("print record: %w", err)
	}
	w.records = append(w.records, rec)
	w.rollback = w.rollback || plan.IsRollbackScope(rec.Scope)
	if text := w.describeRecord(rec); text != "" {
		if _, err := fmt.Fprintf(w.w, "%s  %s\n", rec.Time.Local().Format(time.TimeOnly), text); err != nil {
			return 0, err
		}
	}
	return len(line), nil
}

// describeRecord describes a record in one line.
func (w *recordText) describeRecord(rec nodeapi.Record) string {
	switch rec.Kind {
	case nodeapi.Staging:
		if rec.Message != "" {
			return fmt.Sprintf("checking %s: %s", printers.JoinServices(rec.Services, ", "), rec.Message)
		}
		return "signing certificates of " + printers.JoinServices(rec.Services, ", ")
	case nodeapi.CSRPosted:
		return "waiting for a signature of CertificateSigningRequest " + rec.CSR.Name
	case nodeapi.Staged:
		if rec.Message != "" {
			return rec.Message
		}
		return fmt.Sprintf("%s signed, nothing changed yet", printers.CountOf(len(rec.Renewals), "certificate"))
	case nodeapi.CopyingEtcd:
		return "copying etcd's data"
	case nodeapi.EtcdCopied:
		return rec.Message
	case nodeapi.Committing:
		return withMessage("replacing files", rec.Message)
	case nodeapi.Replaced:
		return withMessage("files replaced", rec.Message)
	case nodeapi.Restarting:
		return withMessage("restarting "+string(rec.Service), rec.Message)
	case nodeapi.Restarted:
		return fmt.Sprintf("%s is healthy again, %s unavailable", rec.Service, printers.ElapsedTime(time.Duration(rec.UnavailableSeconds*float64(time.Second))))
	case nodeapi.Waiting:
		return rec.Message
	case nodeapi.Verified:
		return "verified: " + rec.Evidence.Detail
	default:
		return w.describeEnd(rec)
	}
}

// describeEnd describes a rollback, or the answer to an order. The program's error adds the
// reason and the next step.
func (w *recordText) describeEnd(rec nodeapi.Record) string {
	was := "old"
	is := "new"
	if w.rollback {
		was = "present"
		is = "earlier"
	}
	switch {
	case rec.Kind == nodeapi.RollingBack:
		return withMessage("ROLLING BACK", rec.Message+"; putting the "+was+" certificates back")
	case rec.Kind == nodeapi.Committed && rec.Unverified:
		return strings.ToUpper(is) + " CERTIFICATES, NOT VERIFIED YET"
	case rec.Kind == nodeapi.Committed:
		return fmt.Sprintf("COMMITTED AND VERIFIED: %s in use", printers.CountOf(len(rec.Renewals), is+" certificate"))
	case rec.Kind == nodeapi.Finished:
		return fmt.Sprintf("rotation %s finished; %s", rec.Rotation, cmp.Or(rec.Message, "the replaced files are kept on this node"))
	case rec.Kind == nodeapi.RolledBack && rec.Unverified:
		return withMessage("ROLLED BACK, NOT VERIFIED YET", rec.Message)
	case rec.Kind == nodeapi.RolledBack:
		return withMessage("ROLLED BACK AND VERIFIED", rec.Message)
	case rec.Kind == nodeapi.Unknown:
		return "STATE UNKNOWN: neither old nor new certificates could be verified"
	case rec.Kind == nodeapi.Failed, rec.Kind == nodeapi.Refused:
		return "FAILED, nothing changed"
	case rec.Kind == nodeapi.Abandoned:
		return withMessage("process ended", rec.Message)
	default:
		return string(rec.Kind)
	}
}

func withMessage(text, message string) string {
	if message == "" {
		return text
	}
	return text + ": " + message
}
