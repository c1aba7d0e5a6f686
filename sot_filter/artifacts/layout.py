"""Where everything of a run lies under its work_dir."""

from dataclasses import dataclass

from sot_filter.sources import Part, Source


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of a run's artifacts. ``root`` is a folder or any fsspec URL that all workers share."""

    root: str

    @property
    def plan(self) -> str:
        """What the run is: pinned settings and the key of every stage."""
        return f"{self.root}/plan.json"

    @property
    def inventory(self) -> str:
        """The pinned sources by role."""
        return f"{self.root}/inventory.json"

    def reference(self, role: str) -> str:
        """Rows of a reference."""
        return f"{self.root}/references/{role}.jsonl"

    def embedded(self, role: str, source: Source) -> str:
        """A source's embeddings. Its digest is in the name, so that a new reference leaves the rows' own alone."""
        return f"{self.root}/embed/{role}-{source.digest[:12]}"

    def embeddings(self, role: str, source: Source, part: Part) -> str:
        """Embeddings of a part."""
        return f"{self.embedded(role, source)}/{part.name}.arrow"

    def sample(self, part: Part) -> str:
        """Rows of a part that are in the sample, in mode centroid."""
        return f"{self.root}/sample/{part.name}.arrow"

    @property
    def choice(self) -> str:
        """Settings and geometry, chosen before the rows are clustered."""
        return f"{self.root}/cluster/choice.safetensors"

    @property
    def sampled(self) -> str:
        """The whole sample, sorted by centroid."""
        return f"{self.root}/cluster/sample.arrow"

    @property
    def centroids(self) -> str:
        """Unit centroids of the sample."""
        return f"{self.root}/cluster/centroids.arrow"

    def cells(self, part: Part) -> str:
        """The centroids nearest to each row of a part."""
        return f"{self.root}/assign/{part.name}.arrow"

    def sums(self, part: Part) -> str:
        """Mass and sum of a part's rows by centroid."""
        return f"{self.root}/assign/{part.name}.sums.arrow"

    @property
    def solution(self) -> str:
        """Dual potentials, geometry and reference points."""
        return f"{self.root}/solve/solution.safetensors"

    @property
    def reseeded(self) -> str:
        """The same, of a solve whose folds another seed drew."""
        return f"{self.root}/solve/reseeded.safetensors"

    @property
    def unpolished(self) -> str:
        """The solution of the sample, where passes over all rows follow."""
        return f"{self.root}/solve/unpolished.safetensors"

    @property
    def unpolished_reseeded(self) -> str:
        """The reseeded solution of the sample, where passes over all rows follow."""
        return f"{self.root}/solve/unpolished-reseeded.safetensors"

    def gathered(self, number: int, part: Part) -> str:
        """What rows of a part gather on the references, in the given pass over all rows."""
        return f"{self.root}/polish-{number}/{part.name}.arrow"

    def settled(self, number: int) -> str:
        """The solution after the given pass, if it is not the last."""
        return f"{self.root}/settle-{number}/solution.safetensors"

    @property
    def duplicates(self) -> str:
        """Texts that several rows share, with the first row's id and vectors."""
        return f"{self.root}/solve/duplicates.arrow"

    @property
    def map(self) -> str:
        """Where the references' rows are drawn."""
        return f"{self.root}/solve/map.arrow"

    def scores(self, part: Part) -> str:
        """Scores of a part."""
        return f"{self.root}/weigh/{part.name}.arrow"

    @property
    def selection(self) -> str:
        """The cut and the weights' normaliser."""
        return f"{self.root}/select/selection"

    def published(self, file_name: str) -> str:
        """Proof that an output file was written, with its digest."""
        return f"{self.root}/publish/{file_name}"

    @property
    def report(self) -> str:
        """Proof that summary and picture were written."""
        return f"{self.root}/report/summary"

    def uploaded(self, name: str) -> str:
        """Proof that a file of the output is with the Hub, not yet in a commit."""
        return f"{self.root}/upload/{name}"

    @property
    def committed(self) -> str:
        """Proof that the output is published on the Hub, with the commit."""
        return f"{self.root}/commit/commit"

    @property
    def before(self) -> str:
        """Every row's fate in the run whose references are being replaced."""
        return f"{self.root}/update/before.arrow"

    @property
    def before_references(self) -> str:
        """The rows of the references that are being replaced."""
        return f"{self.root}/update/references.arrow"

    @property
    def jobs(self) -> str:
        """What was submitted to a scheduler last."""
        return f"{self.root}/jobs.json"

    def logs(self, stage: str) -> str:
        """The executor's logs of a stage."""
        return f"{self.root}/logs/{stage}"
