package plugin

import (
	"slices"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// rotationPlan makes the document that a dry run prints. nodes are all that were
// scanned, also those out of scope: the effect of a restart depends on the others.
func rotationPlan(p plan.Plan, nodes []inventory.Node, req plan.Request, unfinished *plan.Unfinished, now time.Time) v1alpha1.RotationPlan {
	out := v1alpha1.RotationPlan{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationPlanKind,
		Services: req.Services, Restart: req.Restart.APIName(), ValiditySeconds: int64(req.Validity / time.Second),
		Steps: []v1alpha1.PlanStep{}, LeftOut: printers.LeftOutItems(p.LeftOut), NotInspected: append([]v1alpha1.NotInspected{}, p.NotInspected...),
		Effects: planEffects(p, nodes, req, now),
	}
	if out.RollbackOf = req.RollbackOf; out.RollbackOf != "" {
		out.Services = concernedServices(p)
	}
	if unfinished != nil {
		out.Continues = unfinished.ID
	}
	for i, w := range p.Waves {
		for _, s := range w.Steps {
			out.Steps = append(out.Steps, planStep(s, i+1))
		}
	}
	return out
}

// concernedServices are the services of a plan's steps.
func concernedServices(p plan.Plan) []certs.Service {
	out := []certs.Service{}
	for _, s := range p.AllSteps() {
		for _, service := range s.Services {
			out = append(out, service.Service)
		}
	}
	return append([]certs.Service{}, certs.SortServices(out)...)
}

func planStep(s plan.Step, wave int) v1alpha1.PlanStep {
	out := v1alpha1.PlanStep{
		Node: s.Node, Wave: wave, ControlPlane: s.ControlPlane,
		Services: []v1alpha1.PlanService{}, Certificates: []v1alpha1.PlannedCertificate{},
		Restarts: append([]certs.Service{}, s.Restarts...), RestartUnit: s.RestartUnit, UnitCommand: s.UnitCommand,
	}
	for _, u := range s.OtherRestarts {
		if !slices.Contains(out.OtherRestarts, u.Name) {
			out.OtherRestarts = append(out.OtherRestarts, u.Name)
		}
	}
	for _, service := range s.Services {
		out.Services = append(out.Services, v1alpha1.PlanService{
			Service: service.Service, NoCertificate: service.NoCertificate, Reason: service.Note, Because: service.Because})
	}
	for _, t := range s.Targets {
		out.Certificates = append(out.Certificates, v1alpha1.PlannedCertificate{
			Service: t.Service, Name: t.Name, Path: t.Path, Issuer: t.Issuer, SignedBy: t.SignedBy,
			FingerprintSHA256: t.OldFingerprint, NotAfter: t.OldNotAfter,
			NewNotAfter: t.NewNotAfter, LifeReason: t.LifeReason, KeptKey: t.KeptKey, SharedKeyFile: t.SharedKeyFile})
	}
	return out
}
