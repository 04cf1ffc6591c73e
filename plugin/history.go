package plugin

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

func (a *app) historyCommand(flags *connectionFlags) *cobra.Command {
	o := &reader{app: a, connectionFlags: flags}
	cmd := &cobra.Command{
		Use:   historyName + " [ID]",
		Short: "List the rotations in the nodes' journals, or every record of one",
		Long: `List the rotations in the nodes' journals, newest first; or, with its id, what one did on
which node and when, why it failed, and how it was verified. The journals are read through
short-lived, read-only pods.`,
		Example: `  # Which rotations were there?
  kubectl rotate-certs history

  # What did one do on a node?
  kubectl rotate-certs history 7f3c2a --node cp3`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return noArguments(cmd, args[1:])
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.completeReader(cmd); err != nil {
				return err
			}
			if len(args) == 0 {
				return o.runList(cmd.Context())
			}
			if !rotationID.MatchString(args[0]) {
				return badRotationID(args[0])
			}
			return o.runOne(cmd.Context(), args[0])
		},
	}
	silenceCobra(cmd)
	f := cmd.Flags()
	f.SortFlags = false
	o.addNodeFlags(cmd, "Only these nodes", a.completeNodes(flags))
	f.StringVarP(&o.output, "output", "o", "", "Output format: "+strings.Join(formats, ", "))
	o.addPodFlags(f)
	completeFlag(cmd, "output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// rotationID is the form of an id that nodes accept; it becomes an argument of a pod.
var rotationID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// runList shows all rotations.
func (o *reader) runList(ctx context.Context) error {
	c, chosen, err := o.openCluster(ctx, kube.UseCheck)
	if err != nil {
		return err
	}
	past, missing, err := o.recordedRotations(ctx, c, chosen)
	if err != nil {
		return err
	}
	list := v1alpha1.RotationList{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationListKind, Items: past, NotInspected: missing}
	if err := printRotations(o.Out, o.format, list); err != nil {
		return err
	}
	if len(past) > 0 {
		printNotes(o.ErrOut, fmt.Sprintf("Every record of one: %s %s %s", o.connectionFlags.commandLine(), historyName, cleanText(past[0].ID)))
	}
	return nil
}

// runOne shows one rotation.
func (o *reader) runOne(ctx context.Context, id string) error {
	c, chosen, err := o.openCluster(ctx, kube.UseCheck)
	if err != nil {
		return err
	}
	logs, missing, err := c.journals.Journals(ctx, chosen.Names, id)
	if err != nil {
		return err
	}
	missing = append(chosen.Excluded, missing...)
	logs = slices.DeleteFunc(logs, func(l nodeapi.Journal) bool { return len(l.Records) == 0 })
	if len(logs) == 0 {
		unread := ""
		if len(missing) > 0 {
			unread = fmt.Sprintf("; %s could not be read, first %s: %s", countOf(len(missing), "node"), missing[0].Node, missing[0].Reason)
		}
		return fmt.Errorf("no journal has rotation %q%s\nhint: %s %s lists them", id, unread, o.connectionFlags.commandLine(), historyName)
	}
	var nodes []inventory.Node
	out := v1alpha1.RotationHistory{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationHistoryKind, Records: []v1alpha1.RotationRecord{}, NotInspected: excludedItems(missing),
	}
	for _, l := range logs {
		nodes = append(nodes, inventory.Node{Name: l.Node, Rotations: []inventory.NodeRotation{nodeapi.SummarizeRecords(id, l.Records)}})
		for _, rec := range l.Records {
			out.Records = append(out.Records, rotationRecord(rec))
		}
	}
	slices.SortStableFunc(out.Records, func(a, b v1alpha1.RotationRecord) int {
		return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.Node, b.Node))
	})
	out.PastRotation = o.pastRotations(nodes)[0]
	if len(o.nodes) > 0 && (o.format == formatTable || o.format == formatWide) {
		fmt.Fprintf(o.Out, "By the journals of %s only. ", someNames(o.nodes))
	}
	return printHistory(o.Out, o.format, out, o.connectionFlags.commandLine(), o.now())
}

func rotationRecord(rec nodeapi.Record) v1alpha1.RotationRecord {
	out := v1alpha1.RotationRecord{
		Node: rec.Node, Time: rec.Time.UTC(), Kind: string(rec.Kind), Service: rec.Service, Services: rec.Services,
		Message: rec.Message, Hint: rec.Hint, Unverified: rec.Unverified, UnavailableSeconds: rec.UnavailableSeconds,
	}
	if e := rec.Evidence; e != nil {
		out.Service = e.Service
		out.Evidence = string(e.Method) + ": " + e.Detail
	}
	for _, r := range rec.Renewals {
		renewed := certificateRef(r.New)
		name, path, _ := strings.Cut(r.ID, "@")
		_, name, _ = strings.Cut(name, "/")
		out.Certificates = append(out.Certificates, v1alpha1.RotatedCertificate{Name: name, Path: path, Old: certificateRef(r.Old), New: &renewed})
	}
	return out
}

func certificateRef(f certs.Facts) v1alpha1.CertificateRef {
	return v1alpha1.CertificateRef{SerialNumber: f.SerialNumber, FingerprintSHA256: f.FingerprintSHA256, NotAfter: f.NotAfter}
}
